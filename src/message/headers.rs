//! The headers of a message, in one piece as the protocol writes them: a message with ten of them is made at each request.

/// The first line and the last one, as the protocol writes them around headers.
const FRAME: usize = "NATS/1.0\r\n\r\n".len();

/// Names with a text each, in their order. A name can stand more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// A line `name: text` for each, with its end.
    lines: String,
}

impl Headers {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Headers {
        Headers { lines: String::with_capacity(bytes) }
    }

    /// Adds one. A line break in it becomes a space: it would end the header, and what follows would be another one.
    pub fn add(&mut self, name: &str, text: &str) {
        self.add_parts(name, &[text]);
    }

    /// Adds one whose text is in pieces.
    pub fn add_parts(&mut self, name: &str, parts: &[&str]) {
        let from = self.lines.len();
        self.lines.push_str(name);
        self.lines.push_str(": ");
        for part in parts {
            self.lines.push_str(part);
        }
        self.mend(from);
        self.lines.push_str("\r\n");
    }

    /// Makes a space of each line break from a place on.
    fn mend(&mut self, from: usize) {
        if has_control(self.lines.as_bytes().get(from..).unwrap_or_default()) {
            let mended = self.lines.get(from..).unwrap_or_default().replace(['\r', '\n'], " ");
            self.lines.truncate(from);
            self.lines.push_str(&mended);
        }
    }

    /// Adds all of others.
    pub fn append(&mut self, others: &Headers) {
        self.lines.push_str(&others.lines);
    }

    /// Names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap_or((line, "")))
    }

    /// The text of the first one of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// Appends to the text of each one of a name.
    pub fn extend(&mut self, name: &str, more: &str) {
        let mut extended = Headers::with_capacity(self.lines.len().saturating_add(more.len()));
        for (known, text) in self.iter() {
            extended.add_parts(known, &[text, if known == name { more } else { "" }]);
        }
        *self = extended;
    }

    /// All of them as the protocol writes them: a line each, with its end.
    pub fn as_str(&self) -> &str {
        &self.lines
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many bytes they take in memory.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// How many bytes they take as the protocol writes them; none if there are none.
    pub fn size(&self) -> usize {
        if self.is_empty() { 0 } else { self.lines.len().saturating_add(FRAME) }
    }
}

impl From<Vec<(String, String)>> for Headers {
    fn from(pairs: Vec<(String, String)>) -> Headers {
        let mut headers = Headers::default();
        pairs.iter().for_each(|(name, text)| headers.add(name, text));
        headers
    }
}

/// Whether a text has a byte below the space: eight of them are looked at a time. One that is not ASCII may count as such.
fn has_control(text: &[u8]) -> bool {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_sub(SPACES) & HIGH;
    let (words, rest) = text.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| found | below(word));
    // The last eight bytes have the rest in them.
    let last = text.last_chunk::<8>().map_or(0, below);
    (found | last) != 0 || (words.is_empty() && rest.iter().any(|byte| *byte < b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_but_for_line_breaks() {
        let pairs = [("A", "b: c"), ("", ""), ("A", " é \r\nX: y"), ("B", "")];
        let headers = Headers::from(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec());
        let wanted = [("A", "b: c"), ("", ""), ("A", " é   X: y"), ("B", "")];
        assert_eq!(headers.iter().collect::<Vec<_>>(), wanted);
        assert_eq!((headers.count(), headers.get("A"), headers.get("C")), (4, Some("b: c"), None));
    }

    #[test]
    fn a_line_break_is_found_at_each_place() {
        for length in 0..20 {
            for at in 0..length {
                for (byte, wanted) in [('\r', ' '), ('\n', ' '), ('\t', '\t'), ('é', 'é'), ('\0', '\0')] {
                    let text = |c: char| (0..length).map(|n| if n == at { c } else { 'x' }).collect::<String>();
                    let mut headers = Headers::default();
                    headers.add("A", &text(byte));
                    assert_eq!(headers.get("A"), Some(text(wanted).as_str()));
                }
            }
        }
    }

    #[test]
    fn texts_of_a_name_are_extended() {
        let mut headers = Headers::default();
        headers.add("Id", "1");
        headers.add("Other", "2");
        headers.extend("Id", ".r7");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("Id", "1.r7"), ("Other", "2")]);
    }
}
