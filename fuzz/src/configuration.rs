//! Any bytes as a configuration file: it is refused with a text for each problem, or makes legal messages of any request.

#![no_main]
#![allow(dead_code)]

mod config;
mod error;
mod event;
mod message;
mod value;

use config::Document;
use event::{Configuration, Features, Moment, Request, Scribe, Text};
use libfuzzer_sys::fuzz_target;

const MOMENT: Moment = Moment { nanos: 1_795_331_934_454_048_123, sequence: 7 };

/// What stands behind this line of the input is what a client sends.
const END: &[u8] = b"\n#####\n";

fuzz_target!(|data: &[u8]| {
    let end = data.windows(END.len()).position(|window| window == END);
    let (text, client) = end.map_or((data, &b"k"[..]), |end| (&data[..end], &data[end + END.len()..]));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(document) = Document::parse("f.toml", text) else { return };
    let (configuration, problems) = Configuration::read(document.table());
    if let Err(error) = document.refuse(&problems) {
        let error = error.to_string();
        assert!(error.starts_with("bad_config: f.toml:"), "{error}");
        assert!(problems.len() < 200, "{} problems", problems.len());
        return;
    }
    for (operation, method) in [("put_obj", "PUT"), ("delete_obj", "DELETE"), ("get_obj", "GET"), ("create_bucket", "PUT")] {
        let mut request = Request::default();
        (request.features, request.status) = (Features { rgw_table: true, ..Features::default() }, 200);
        request.set(Text::RgwOp, operation.as_bytes());
        request.set(Text::Method, method.as_bytes());
        for text in [Text::Key, Text::Bucket, Text::Tenant, Text::User, Text::ZoneGroup, Text::Id] {
            request.set(text, client);
        }
        request.metadata.add(b"x-amz-meta-a", client);
        request.tags.add(client, client);
        let Some(event) = request.event() else { continue };
        for rule in &configuration.rules {
            let Some(event) = rule.fits(&request, event) else { continue };
            let message = Scribe::new(&request, MOMENT).message(event, rule, None).expect("a message of any request");
            assert_eq!(event::check_subject(&message.subject), Ok(()), "{}", message.subject);
            assert!(message.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])));
            let mut form = Some(&message);
            while let Some(message) = form {
                serde_json::from_slice::<serde_json::Value>(&message.payload).expect("JSON");
                form = message.smaller.as_deref();
            }
        }
    }
});
