//! What is read of `Request`, and what is made of it, in each release.

use host::{Broker, Gateway, RELEASES, Release, Sample, Setup, State, Subscriber, Tags};
use std::time::Duration;

/// The requests that are tried.
const SAMPLES: [Sample; 13] = [
    Sample::of(c"put_obj", 200),
    Sample { part: true, ..Sample::of(c"put_obj", 200) },
    Sample { tags: Tags::Repeated, ..Sample::of(c"put_obj", 200) },
    Sample { tags: Tags::Nul, ..Sample::of(c"put_obj", 200) },
    Sample::of(c"post_obj", 204),
    Sample::of(c"copy_obj", 200),
    Sample::of(c"complete_multipart", 200),
    Sample::of(c"delete_obj", 204),
    Sample::of(c"multi_object_delete", 200),
    Sample::of(c"get_obj", 200),
    Sample::of(c"put_obj", 403),
    Sample::of(c"copy_obj", 404),
    Sample::of(c"an operation of the future", 200),
];

/// Notifies of a sample, after what a script does before.
fn notify(release: Release, sample: Sample, port: u16, before: &str, test: impl FnOnce(&Gateway)) {
    let state = State::open(&Setup { release, sample, ..Setup::default() }).expect("a state");
    state.must_run(&format!(
        "{before} judge('notify', require('rgw_nats').notify(Request, {{ url = 'nats://127.0.0.1:{port}' }}))"
    ));
    state.gateway().acquit();
    assert_eq!(state.gateway().outcome("ok"), 1, "{release:?}, {sample:?}: {:?}", state.gateway().outcomes);
    test(state.gateway());
}

/// No release is asked for what it lacks.
pub fn each_release() {
    let broker = Broker::start();
    for release in RELEASES {
        for sample in SAMPLES {
            notify(release, sample, broker.port(), "", |gateway| {
                let asked = gateway.asked.borrow();
                let is_asked = |table, field: &'static str| asked.contains(&(table, field.as_bytes()));
                assert!(is_asked(c"Request", "RGWOp"), "nothing was read");
                // What is no event costs no more than finding that out.
                let is_event = (200..300).contains(&sample.status)
                    && [c"put_obj", c"post_obj", c"copy_obj", c"complete_multipart", c"delete_obj"]
                        .contains(&sample.operation);
                assert_eq!(is_asked(c"Request.HTTP", "Metadata"), is_event, "{release:?}, {sample:?}: {asked:?}");
                // On 16 all of it is a segmentation fault.
                let is_copy = is_event && sample.operation == c"copy_obj" && release > Release::Pacific;
                assert_eq!(is_asked(c"Request.CopyFrom.Object", "Size"), is_copy, "{release:?}, {sample:?}");
            });
        }
    }
}

/// Each value of the record comes from its own place, although on 16 and 18 tables of one kind take each other's.
pub fn records() {
    let broker = Broker::start();
    let mut subscriber = Subscriber::on(broker.port(), ">");
    let mut record = |release, sample| {
        notify(release, sample, broker.port(), "", |_| {});
        loop {
            let payload = subscriber.next(Duration::from_secs(5)).expect("a record");
            let payload = String::from_utf8(payload);
            // Our own marks for what the server has are no text.
            if let Ok(record) = payload
                && record.starts_with("{\"Records\"")
            {
                return record;
            }
        }
    };
    for release in RELEASES {
        let put = record(release, Sample::of(c"put_obj", 200));
        for part in [
            r#""eventName":"ObjectCreated:Put""#,
            r#""eventTime":"2026-11-22T07:05:54.862149Z""#,
            r#""userIdentity":{"principalId":"requester"}"#,
            r#""ownerIdentity":{"principalId":"bucketowner"}"#,
            r#""key":"images/2026/hello world.jpg""#,
            r#""size":4096"#,
            r#"{"key":"x-amz-meta-camera","val":"x100"},{"key":"x-amz-meta-color","val":"red"}"#,
            r#"{"key":"project","val":"blue"},{"key":"stage","val":"raw"}"#,
        ] {
            assert!(put.contains(part), "{release:?}: {part} is not in {put}");
        }
        assert!(!put.contains("hunter2"), "{release:?}: a token left the gateway: {put}");
        let copy = record(release, Sample::of(c"copy_obj", 200));
        // 16 has no way to know it.
        let size = if release == Release::Pacific { r#""size":0"# } else { r#""size":1234"# };
        assert!(copy.contains(size), "{release:?}: {size} is not in {copy}");
        let repeated = record(release, Sample { tags: Tags::Repeated, ..Sample::of(c"put_obj", 200) });
        assert!(repeated.contains(r#"{"key":"project","val":"blue"}"#), "{release:?}: {repeated}");
    }
}

/// What a script does to its globals, and to the maps, leads to no read that its release lacks.
pub fn misleading_scripts() {
    let broker = Broker::start();
    for release in RELEASES {
        for sample in SAMPLES {
            for before in [
                "RGW = {}",
                "RGW_ABORT_REQUEST = -1",
                "RGW, RGW_ABORT_REQUEST = {}, -1",
                "RGW, RGW_ABORT_REQUEST = nil, nil",
                "setmetatable(_G, { __index = function() return {} end, __newindex = function() end })",
            ] {
                notify(release, sample, broker.port(), before, |_| {});
            }
        }
        let sample = Sample::of(c"put_obj", 200);
        for before in [
            "for key, value in pairs(Request.HTTP.Metadata) do end",
            "for key, value in pairs(Request.Tags) do end",
            "for key, value in pairs(Request.Tags) do break end",
        ] {
            notify(release, sample, broker.port(), before, |_| {});
        }
    }
}

/// On 20 a map can be walked only once in a state, and a script may notify more than once.
pub fn two_notifications() {
    let broker = Broker::start();
    for release in RELEASES {
        let state = State::open(&Setup { release, ..Setup::default() }).expect("a state");
        state.must_run(&format!(
            "local nats, url = require('rgw_nats'), 'nats://127.0.0.1:{}'
             judge('first', nats.notify(Request, {{ url = url, subject = 'first' }}))
             collectgarbage()
             judge('second', nats.notify(Request, {{ url = url, subject = 'second' }}))",
            broker.port()
        ));
        assert_eq!(state.gateway().outcome("ok"), 2);
        state.gateway().acquit();
    }
}
