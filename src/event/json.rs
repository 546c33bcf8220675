//! Writes JSON, straight into bytes: a record is written for each event, on a request's time.

/// Eight bytes of this one each.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// JSON in the making.
#[derive(Debug, Default)]
pub struct Json {
    bytes: Vec<u8>,
}

impl Json {
    /// Nothing yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Json {
        Json { bytes: Vec::with_capacity(bytes) }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How much was written, in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes what is JSON, or a part of it.
    pub fn raw(&mut self, json: &str) {
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// Writes the inside of a string: what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self, text: &[u8]) {
        let (plain, rest) = text.split_at_checked(plain(text)).unwrap_or((text, &[]));
        self.bytes.extend_from_slice(plain);
        if rest.is_empty() {
            return;
        }
        for chunk in rest.utf8_chunks() {
            let mut from = 0;
            let valid = chunk.valid().as_bytes();
            for (at, byte) in valid.iter().enumerate() {
                if !matches!(byte, 0..b' ' | b'"' | b'\\') {
                    continue;
                }
                self.bytes.extend_from_slice(valid.get(from..at).unwrap_or_default());
                self.escape(*byte);
                from = at.saturating_add(1);
            }
            self.bytes.extend_from_slice(valid.get(from..).unwrap_or_default());
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}");
            }
        }
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => {
                let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'));
                self.raw("\\u00");
                return digits.iter().for_each(|digit| self.bytes.push(u8::try_from(*digit).unwrap_or(b'0')));
            }
        };
        self.raw(short);
    }

    /// Writes a number of 16 hexadecimal digits.
    pub fn hexadecimal(&mut self, number: u64) {
        self.bytes.extend_from_slice(&hexadecimal(number));
    }

    /// Writes a number, with so many digits at least.
    pub fn decimal(&mut self, number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let (mut rest, mut start) = (number, digits.len());
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            if rest == 0 {
                break;
            }
            // One digit.
            *digit = b'0' | (rest % 10) as u8;
            (rest, start) = (rest / 10, at);
        }
        let start = start.min(digits.len().saturating_sub(width.max(1)));
        self.bytes.extend_from_slice(digits.get(start..).unwrap_or_default());
    }

    /// Writes a number that can be negative.
    pub fn integer(&mut self, number: i64) {
        if number < 0 {
            self.bytes.push(b'-');
        }
        self.decimal(number.unsigned_abs(), 1);
    }
}

/// A number as 16 hexadecimal digits.
pub fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        // Four bits.
        let value = (rest & 15) as u8;
        *digit = if value < 10 { b'0' | value } else { b'A' - 10 + value };
        rest >>= 4;
    }
    digits
}

/// How many bytes at the beginning of a text are ASCII that stands for itself, at least: eight of them are looked at a time.
fn plain(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        if !is_plain(u64::from_le_bytes(*word)) {
            return at.saturating_mul(8);
        }
    }
    let is_rest_plain = match text.last_chunk::<8>() {
        // All before it are plain, so that these are if the rest is.
        Some(last) => is_plain(u64::from_le_bytes(*last)),
        None => rest.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')),
    };
    if is_rest_plain { text.len() } else { text.len().saturating_sub(rest.len()) }
}

/// Whether each of eight bytes is ASCII, from the space on, and neither `"` nor `\`. The tricks need ASCII, and a byte that is
/// none is found by its highest bit.
fn is_plain(word: u64) -> bool {
    let below_space = word.wrapping_sub(each(b' ')) & !word;
    let is = |byte| {
        let zero = word ^ each(byte);
        zero.wrapping_sub(each(1)) & !zero
    };
    (word | below_space | is(b'"') | is(b'\\')) & each(0x80) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> String {
        let mut json = Json::default();
        json.raw("\"");
        json.text(text);
        json.raw("\"");
        String::from_utf8(json.into_bytes()).unwrap()
    }

    #[test]
    fn each_byte_at_each_place_is_written_as_serde_json_writes_it() {
        for byte in 0..=u8::MAX {
            for before in 0..10 {
                for after in 0..10 {
                    let text = [&b"abcdefghij"[..before], &[byte], &b"klmnopqrst"[..after]].concat();
                    let wanted = serde_json::to_string(&String::from_utf8_lossy(&text)).unwrap();
                    assert_eq!(written(&text), wanted, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn texts_of_all_kinds_are_written_as_serde_json_writes_them() {
        for text in ["", "größe 😀 \u{2028}\0", "\"", "\\\\\\\\\\\\\\\\\"", "plain text that is longer than a word"]
        {
            assert_eq!(written(text.as_bytes()), serde_json::to_string(text).unwrap());
        }
        let broken = b"a\xff\xc3\"\xe2\x80 tail\xf0\x9f";
        assert_eq!(written(broken), serde_json::to_string(&String::from_utf8_lossy(broken)).unwrap());
    }

    #[test]
    fn numbers_are_written_with_their_width() {
        for number in [0, 1, 9, 10, 123_456, i64::MAX, i64::MIN, -1] {
            let mut json = Json::default();
            json.integer(number);
            assert_eq!(json.into_bytes(), number.to_string().into_bytes());
        }
        for number in [0, 7, 123_456, 1_234_567, u64::MAX] {
            let mut json = Json::default();
            json.decimal(number, 6);
            json.raw(" ");
            json.hexadecimal(number);
            assert_eq!(json.into_bytes(), format!("{number:06} {number:016X}").into_bytes());
        }
    }
}
