---@meta _
-- What editors are told of JetStream; docs/jetstream.md says more of each function.

---JetStream of an account.
---@class rgw_nats.JetStream
local JetStream = {}

---Tells what the account has, and may have.
---@return table? info, string? message, rgw_nats.Code? code
function JetStream:account_info() end

---Asks the API whatever it knows: what there is no function for, such as lists with all details, snapshots or push
---consumers.
---@param name string
---@param request? table
---@return table? answer, string? message, rgw_nats.Code? code
function JetStream:api(name, request) end

---Publishes, and waits until a stream has it.
---@param subject string
---@param payload? string
---@param options? rgw_nats.JetStreamPublishOptions
---@return rgw_nats.Acknowledgement? stored, string? message, rgw_nats.Code? code
function JetStream:publish(subject, payload, options) end

---Publishes, and goes on: the acknowledgement is the result of a future.
---@param subject string
---@param payload? string
---@param options? rgw_nats.JetStreamPublishOptions
---@return rgw_nats.Future? future, string? message, rgw_nats.Code? code
function JetStream:publish_async(subject, payload, options) end

---Makes a stream; one that is there with the same configuration is found.
---@param configuration rgw_nats.StreamConfiguration
---@return rgw_nats.StreamInfo? info, string? message, rgw_nats.Code? code
function JetStream:create_stream(configuration) end

---Changes a stream to this configuration; what it does not have becomes what the server takes for it.
---@param configuration rgw_nats.StreamConfiguration
---@return rgw_nats.StreamInfo? info, string? message, rgw_nats.Code? code
function JetStream:update_stream(configuration) end

---Tells of a stream.
---@param name string
---@return rgw_nats.StreamInfo? info, string? message, rgw_nats.Code? code
function JetStream:stream_info(name) end

---Lists streams.
---@param options? rgw_nats.StreamNamesOptions
---@return string[]? names, string? message, rgw_nats.Code? code
function JetStream:stream_names(options) end

---Removes messages of a stream: all of them, or some.
---@param name string
---@param options? rgw_nats.PurgeStreamOptions
---@return { purged: integer }? result, string? message, rgw_nats.Code? code
function JetStream:purge_stream(name, options) end

---Removes a stream with all that is in it, its consumers too.
---@param name string
---@return true? ok, string? message, rgw_nats.Code? code
function JetStream:delete_stream(name) end

---Reads one message of a stream, without a consumer.
---@param stream string
---@param options rgw_nats.GetMessageOptions
---@return rgw_nats.KeptMessage? found, string? message, rgw_nats.Code? code
function JetStream:get_message(stream, options) end

---Removes one message of a stream.
---@param stream string
---@param sequence integer
---@param erase? boolean
---@return true? ok, string? message, rgw_nats.Code? code
function JetStream:delete_message(stream, sequence, erase) end

---Finds a consumer by its name; or makes one, or changes it, where `name` is a table instead.
---@param stream string
---@param name string|rgw_nats.ConsumerConfiguration
---@param action? "create"|"update"
---@return rgw_nats.Consumer? consumer, string? message, rgw_nats.Code? code
function JetStream:consumer(stream, name, action) end

---Reads a stream in order, each message once, over however many connections, and acknowledges nothing.
---@param stream string
---@param options? rgw_nats.OrderedConsumerOptions
---@return rgw_nats.Consumer? reader, string? message, rgw_nats.Code? code
function JetStream:ordered_consumer(stream, options) end

---Lists the consumers of a stream.
---@param stream string
---@return string[]? names, string? message, rgw_nats.Code? code
function JetStream:consumer_names(stream) end

---Removes a consumer, with its account of what is done.
---@param stream string
---@param name string
---@return true? ok, string? message, rgw_nats.Code? code
function JetStream:delete_consumer(stream, name) end

---Makes a bucket; one that is there with the same configuration is found.
---@param configuration rgw_nats.BucketConfiguration
---@return rgw_nats.Bucket? bucket, string? message, rgw_nats.Code? code
function JetStream:create_bucket(configuration) end

---Finds a bucket.
---@param name string
---@return rgw_nats.Bucket? bucket, string? message, rgw_nats.Code? code
function JetStream:bucket(name) end

---Lists buckets.
---@return string[]? names, string? message, rgw_nats.Code? code
function JetStream:bucket_names() end

---Removes a bucket with all that is in it.
---@param name string
---@return true? ok, string? message, rgw_nats.Code? code
function JetStream:delete_bucket(name) end

---Which JetStream, and how long to wait for it.
---@class (exact) rgw_nats.JetStreamOptions
---@field timeout_ms? integer How long an answer of the server is waited for, in milliseconds.
---The JetStream domain, such as that of a leaf node: `$JS.DOMAIN.API` is asked instead of `$JS.API`.
---@field domain? string
---What is asked instead, where another account exports its JetStream and this one has imported it under another
---name.
---@field prefix? string

---How to publish.
---@class (exact) rgw_nats.JetStreamPublishOptions
---@field timeout_ms? integer How long the acknowledgement is waited for, in milliseconds.
---@field headers? rgw_nats.Headers The message's headers.
---`Nats-Msg-Id`: a message whose id the stream has seen within its `duplicate_window` is not stored again.
---@field id? string
---@field expected_stream? string The stream that must take it.
---@field expected_last_id? string The id that the last message of the stream must have.
---The sequence that the last message of the stream must have; 0: there is none.
---@field expected_last_sequence? integer
---@field expected_last_subject_sequence? integer Likewise of its subject.
---After how many seconds the stream drops it: nats-server 2.11 and newer, a stream with `allow_msg_ttl`.
---@field ttl_s? integer

---What a stream says of a message that it has taken.
---@class (exact) rgw_nats.Acknowledgement
---@field stream string Which stream has it.
---@field sequence integer Its number there.
---@field duplicate boolean Whether the stream had one with this `id`, whose number this is then.
---@field domain string The stream's domain; empty, if it has none.

---A stream, as JetStream's API has it: see docs/jetstream.md for where its further keys are explained.
---Durations are nanoseconds.
---@class rgw_nats.StreamConfiguration: table
---@field name string

---@class rgw_nats.StreamInfo: table
---@field config rgw_nats.StreamConfiguration
---@field state table
---@field created string

---Which streams.
---@class (exact) rgw_nats.StreamNamesOptions
---@field subject? string Those that take messages of this subject, which may have `*` and `>`.

---Which messages.
---@class (exact) rgw_nats.PurgeStreamOptions
---@field filter? string Those of this subject, which may have `*` and `>`.
---@field keep? integer The last so many stay.
---@field sequence? integer Those before this number.

---Which message.
---@class (exact) rgw_nats.GetMessageOptions
---@field sequence? integer The message of this number; with `next_subject` where to begin.
---@field last_subject? string The last one of this subject.
---@field next_subject? string The first one of this subject, which may have `*` and `>`, from `sequence` on.

---A message as a stream keeps it.
---@class (exact) rgw_nats.KeptMessage
---@field subject string
---@field payload string
---@field headers rgw_nats.Headers
---@field stream string
---@field sequence integer Its number in the stream.
---@field timestamp_ms integer When the stream took it, in milliseconds since 1970.
---@field time string The same, as the server writes it.

---A consumer, as JetStream's API has it. Durations are nanoseconds.
---@class rgw_nats.ConsumerConfiguration: table
---@field name? string
---@field durable_name? string
---@field ack_policy? "explicit"|"none"|"all"

---What an ordered consumer reads.
---@class (exact) rgw_nats.OrderedConsumerOptions
---@field filter_subject? string Only messages of this subject, which may have `*` and `>`.
---@field filter_subjects? string[] Likewise, a list; nats-server 2.10 and newer.
---With which it begins: `"all"`, `"last"`, `"new"`, `"last_per_subject"`, `"by_start_sequence"`,
---`"by_start_time"`.
---@field deliver_policy? "all"|"last"|"new"|"last_per_subject"|"by_start_sequence"|"by_start_time"
---@field opt_start_seq? integer With `"by_start_sequence"`: the number.
---@field opt_start_time? string With `"by_start_time"`: the time, as `2026-11-25T12:00:00Z`.
---@field replay_policy? "instant"|"original" `"original"` sends messages at the pace at which they were published.
---@field headers_only? boolean Without payloads; the header `Nats-Msg-Size` has their size.
---@field description? string What others see it as.

-- Consumers ----------------------------------------------------------------------------------------------------------

---Hands the messages of a stream out. `for message in consumer do` calls `next()` until it fails.
---@class rgw_nats.Consumer
---@operator call: rgw_nats.StreamMessage?
local Consumer = {}

---Gives the next message.
---@param timeout_ms? number
---@return rgw_nats.StreamMessage? next, string? message, rgw_nats.Code? code
function Consumer:next(timeout_ms) end

---Gives several messages at a time.
---@param count integer
---@param options? rgw_nats.FetchOptions
---@return rgw_nats.StreamMessage[]? messages, string? message, rgw_nats.Code? code
function Consumer:fetch(count, options) end

---Tells of a consumer.
---@return table? info, string? message, rgw_nats.Code? code
function Consumer:info() end

---Removes it, as `delete_consumer` does.
---@return true? ok, string? message, rgw_nats.Code? code
function Consumer:delete() end

---How to fetch.
---@class (exact) rgw_nats.FetchOptions
---@field timeout_ms? integer How long messages are waited for, in milliseconds; 0 is `no_wait`.
---@field no_wait? boolean Whether only what is there now is wanted.

---A message that a consumer gave.
---@class rgw_nats.StreamMessage
---@field subject string Its subject.
---@field payload string The bytes.
---The headers: names with a string each, or with a list of strings, if there are several of one name.
---@field headers rgw_nats.Headers
---@field reply string Where acknowledgements go.
---@field connection rgw_nats.Connection By which they go.
---@field stream string The stream.
---@field consumer string The consumer.
---@field sequence integer Its number in the stream.
---@field consumer_sequence integer The number of this delivery for the consumer.
---@field delivered integer How often it was delivered, this time included.
---@field pending integer How many more there are for the consumer.
---@field timestamp_ms integer When the stream took it, in milliseconds since 1970.
local StreamMessage = {}

---Says that it is done.
---@return true? ok, string? message, rgw_nats.Code? code
function StreamMessage:ack() end

---Says that it is done, and waits for the server's word that it knows: a double acknowledgement.
---@param timeout_ms? number
---@return true? ok, string? message, rgw_nats.Code? code
function StreamMessage:ack_sync(timeout_ms) end

---Says that it is not done: it is to come again.
---@param delay_ms? number
---@return true? ok, string? message, rgw_nats.Code? code
function StreamMessage:nak(delay_ms) end

---Says that it takes longer: its `ack_wait` begins anew.
---@return true? ok, string? message, rgw_nats.Code? code
function StreamMessage:in_progress() end

---Says that it can't be done, and is not to come again.
---@param reason? string
---@return true? ok, string? message, rgw_nats.Code? code
function StreamMessage:term(reason) end

-- Buckets ------------------------------------------------------------------------------------------------------------

---What a bucket is made with.
---@class (exact) rgw_nats.BucketConfiguration
---@field bucket string Its name.
---@field description? string What it is for.
---@field history? integer How many revisions of a key are kept.
---@field ttl_s? integer After how many seconds a value ends; 0 is never.
---@field storage? "file"|"memory" Where it is.
---@field replicas? integer How many servers of the cluster have it.
---@field max_bytes? integer How large it may be; what has no room then is refused.
---@field max_value_size? integer How large a value may be, in bytes.
---@field compression? boolean Whether the server compresses it; nats-server 2.10 and newer.
---Has the server leave a mark for so many seconds where a value has ended, for those who watch, and lets `create`
---have a `ttl_s`; nats-server 2.11 and newer.
---@field limit_marker_ttl_s? integer

---Values by keys.
---@class rgw_nats.Bucket
local Bucket = {}

---Gives the value of a key.
---@param key string
---@param revision? integer
---@return string? value, string? message, rgw_nats.Code? code
function Bucket:get(key, revision) end

---Gives the last change of a key, a removal too, with all that is known of it.
---@param key string
---@param revision? integer
---@return rgw_nats.Entry? entry, string? message, rgw_nats.Code? code
function Bucket:entry(key, revision) end

---Sets a key, whatever it was.
---@param key string
---@param value? string
---@return { revision: integer }? put, string? message, rgw_nats.Code? code
function Bucket:put(key, value) end

---Sets a key that has no value: one of many who try it at a time succeeds.
---@param key string
---@param value? string
---@param options? { ttl_s?: integer }
---@return { revision: integer }? made, string? message, rgw_nats.Code? code
function Bucket:create(key, value, options) end

---Sets a key whose last revision is this one.
---@param key string
---@param value string?
---@param revision integer
---@return { revision: integer }? updated, string? message, rgw_nats.Code? code
function Bucket:update(key, value, revision) end

---Removes the value of a key; its history stays.
---@param key string
---@param revision? integer
---@return true? ok, string? message, rgw_nats.Code? code
function Bucket:delete(key, revision) end

---Removes the value of a key, and its history.
---@param key string
---@param revision? integer
---@return true? ok, string? message, rgw_nats.Code? code
function Bucket:purge(key, revision) end

---Lists the keys that have a value.
---@return string[]? keys, string? message, rgw_nats.Code? code
function Bucket:keys() end

---Lists what a key was, as much as the bucket keeps.
---@param key string
---@return rgw_nats.Entry[]? entries, string? message, rgw_nats.Code? code
function Bucket:history(key) end

---Follows what changes, from this moment on, over however many connections.
---@param keys? string
---@param options? rgw_nats.WatchOptions
---@return rgw_nats.Watch? changes, string? message, rgw_nats.Code? code
function Bucket:watch(keys, options) end

---Tells of the bucket.
---@return rgw_nats.BucketStatus? state, string? message, rgw_nats.Code? code
function Bucket:status() end

---A change of a key.
---@class (exact) rgw_nats.Entry
---@field bucket string The bucket.
---@field key string The key.
---@field value string The value; empty, if it was removed.
---@field revision integer The number of this change in the bucket.
---@field delta integer In a list or a watch: how many more there are after it at that moment.
---@field created_ms integer When it was changed, in milliseconds since 1970.
---`"put"`, `"delete"` or `"purge"`; a value that has ended by itself is purged.
---@field operation "put"|"delete"|"purge"

---Where a watch begins; one of these.
---@class (exact) rgw_nats.WatchOptions
---@field history? boolean Begins with all changes that the bucket keeps.
---@field updates_only? boolean Begins with what changes from now on.
---@field from_revision? integer Begins with this revision.

---What a bucket is and has.
---@class (exact) rgw_nats.BucketStatus
---@field bucket string Its name.
---@field values integer How many changes it keeps, removals included.
---@field bytes integer How many bytes these are.
---@field history integer How many of a key it keeps.
---@field ttl_s integer After how many seconds a value ends; 0 is never.
---@field replicas integer How many servers have it.

---The changes of a bucket. `for entry in watch do` calls `next()` until it fails.
---@class rgw_nats.Watch
---@operator call: rgw_nats.Entry?
local Watch = {}

---Gives the next change.
---@param timeout_ms? number
---@return rgw_nats.Entry? entry, string? message, rgw_nats.Code? code
function Watch:next(timeout_ms) end
