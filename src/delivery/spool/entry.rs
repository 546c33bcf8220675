//! The bytes of an entry on disk: version, flags, time and checksum before the payload.

/// What a frame begins with; another number is a frame of a later version.
const VERSION: u8 = 1;
/// The entry was a dead letter before: it goes out anew.
const REPLAY: u8 = 1;
/// Version, flags, time, checksum.
const HEAD: usize = 1 + 1 + 8 + 4;

/// An entry that waits for delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order; grows strictly in a slot, across restarts too. One who starts a spool anew may get another
    /// slot, and reads from 0.
    pub position: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// How many deliveries have failed.
    pub attempts: u32,
    /// Whether it was a dead letter before: it is a message anew and needs an id of its own.
    pub is_replay: bool,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// An entry that will not be delivered, unless someone replays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entry as it was; its position is the dead letter's.
    pub entry: Entry,
    /// When it was given up, in milliseconds since 1970.
    pub died_ms: u64,
    /// Why.
    pub reason: String,
}

/// How many bytes an entry counts against the limit: its frame, its key and its share of the pages around.
pub fn cost(bytes: usize) -> u64 {
    u64::try_from(bytes.saturating_add(HEAD + 32)).unwrap_or(u64::MAX)
}

/// An entry as its frame, bound to its position.
pub fn encode(position: u64, accepted_ms: u64, is_replay: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len().saturating_add(HEAD));
    frame.extend([VERSION, if is_replay { REPLAY } else { 0 }]);
    frame.extend(accepted_ms.to_le_bytes());
    let checksum = checksum(position, &frame, bytes);
    frame.extend(checksum.to_le_bytes());
    frame.extend(bytes);
    frame
}

/// A frame as the entry that it was; none if a byte of it has changed, or it belongs elsewhere.
pub fn decode(position: u64, attempts: u32, frame: &[u8]) -> Option<Entry> {
    let (head, rest) = frame.split_at_checked(HEAD - 4)?;
    let (sum, bytes) = rest.split_first_chunk::<4>()?;
    let ([VERSION, flags], time) = head.split_first_chunk::<2>()? else { return None };
    if *flags & !REPLAY != 0 || u32::from_le_bytes(*sum) != checksum(position, head, bytes) {
        return None;
    }
    let accepted_ms = u64::from_le_bytes(*time.first_chunk::<8>()?);
    Some(Entry { position, accepted_ms, attempts, is_replay: *flags & REPLAY != 0, bytes: bytes.to_vec() })
}

/// A dead letter as its frame: time, attempts and reason before the entry's own frame, all under a checksum.
pub fn encode_dead(letter: &DeadLetter) -> Vec<u8> {
    let Entry { position, accepted_ms, attempts, is_replay, bytes } = &letter.entry;
    let reason = letter.reason.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(letter.reason.as_bytes());
    let mut head = Vec::with_capacity(reason.len() + 16);
    head.extend(letter.died_ms.to_le_bytes());
    head.extend(attempts.to_le_bytes());
    head.extend(u16::try_from(reason.len()).unwrap_or_default().to_le_bytes());
    head.extend(reason);
    let sum = checksum(*position, &head, &[]);
    [&sum.to_le_bytes()[..], &head, &encode(*position, *accepted_ms, *is_replay, bytes)].concat()
}

/// A frame as the dead letter that it was; none if a byte of it has changed.
pub fn decode_dead(position: u64, frame: &[u8]) -> Option<DeadLetter> {
    let (sum, rest) = frame.split_first_chunk::<4>()?;
    let (died, fields) = rest.split_first_chunk::<8>()?;
    let (attempts, fields) = fields.split_first_chunk::<4>()?;
    let (length, text) = fields.split_first_chunk::<2>()?;
    let (reason, inner) = text.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let head = rest.get(..rest.len().saturating_sub(inner.len()))?;
    if u32::from_le_bytes(*sum) != checksum(position, head, &[]) {
        return None;
    }
    let entry = decode(position, u32::from_le_bytes(*attempts), inner)?;
    let reason = String::from_utf8_lossy(reason).into_owned();
    Some(DeadLetter { entry, died_ms: u64::from_le_bytes(*died), reason })
}

fn checksum(position: u64, head: &[u8], bytes: &[u8]) -> u32 {
    let parts = [&position.to_le_bytes()[..], head, bytes];
    !parts.iter().fold(!0, |sum, part| crc32c(sum, part))
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    #[allow(clippy::indexing_slicing, reason = "at compile time")]
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    let step = |byte: u8| TABLE.get(usize::from(byte)).copied().unwrap_or_default();
    bytes.iter().fold(sum, |sum, byte| (sum >> 8) ^ step(sum as u8 ^ byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn no_byte_can_change_unseen() {
        let entry = Entry { position: 7, accepted_ms: 5, attempts: 2, is_replay: true, bytes: b"hello".to_vec() };
        let letter = DeadLetter { entry: entry.clone(), died_ms: 9, reason: "denied".into() };
        let frame = encode(7, 5, true, b"hello");
        let dead = encode_dead(&letter);
        assert_eq!(decode(7, 2, &frame), Some(entry));
        assert_eq!(decode_dead(7, &dead), Some(letter));
        assert_eq!((decode(8, 2, &frame), decode_dead(8, &dead)), (None, None));
        for (frame, is_dead) in [(frame, false), (dead, true)] {
            let read =
                |frame: &[u8]| if is_dead { decode_dead(7, frame).is_some() } else { decode(7, 2, frame).is_some() };
            for at in 0..frame.len() {
                for bit in 0..8 {
                    let mut other = frame.clone();
                    other[at] ^= 1 << bit;
                    assert!(!read(&other), "byte {at}");
                }
                assert!(!read(&frame[..at]), "cut at {at}");
            }
        }
    }
}
