//! A message that came in.

use bytes::Bytes;

/// One message, as it came from the server.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its subject.
    pub subject: String,
    /// Where an answer is to go to, or an acknowledgement.
    pub reply: Option<String>,
    /// Names with all their values, in the order of their names.
    pub headers: Vec<(String, Vec<String>)>,
    /// The bytes.
    pub payload: Bytes,
    /// What the server says by it, if it is the server's own: 503 for example, that nobody has subscribed.
    pub status: Option<u16>,
}

impl Received {
    /// How much it counts against the bound of a subscription, in bytes.
    pub fn cost(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>() + 64)
            .sum();
        self.subject.len() + headers + self.payload.len() + 128
    }
}

impl Received {
    /// Headers as a server writes them (`NATS/1.0`, then a line for each), in the order of their names.
    pub fn read_headers(bytes: &[u8]) -> Vec<(String, Vec<String>)> {
        let text = String::from_utf8_lossy(bytes);
        let mut headers: Vec<(String, Vec<String>)> = Vec::new();
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
            match headers.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(value.trim().to_owned()),
                None => headers.push((name.to_owned(), vec![value.trim().to_owned()])),
            }
        }
        headers.sort();
        headers
    }
}

impl From<async_nats::Message> for Received {
    fn from(message: async_nats::Message) -> Received {
        let mut headers: Vec<(String, Vec<String>)> = message
            .headers
            .iter()
            .flat_map(async_nats::HeaderMap::iter)
            .map(|(name, values)| (name.to_string(), values.iter().map(|value| value.as_str().to_owned()).collect()))
            .collect();
        headers.sort();
        Received {
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| reply.to_string()),
            headers,
            payload: message.payload,
            status: message.status.map(|status| status.as_u16()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        let headers = Received::read_headers(b"NATS/1.0\r\nB: 2\r\nA:1\r\nB: x: y\r\n\r\n");
        let want = [("A".to_owned(), vec!["1".to_owned()]), ("B".to_owned(), vec!["2".to_owned(), "x: y".to_owned()])];
        assert_eq!(headers, want);
        assert!(Received::read_headers(b"").is_empty() && Received::read_headers(b"\xff\xfe").is_empty());
    }
}
