---@meta rgw_nats
-- What editors are told of the module (LuaCATS, for lua-language-server): no script needs this file. docs/api.md and
-- docs/client.md say more of each function; spec/07-docs_annotations_spec.lua holds it against them and the module.

---What went wrong: the third result of each call that fails.
---@alias rgw_nats.Code
---| "bad_argument"
---| "bad_config"
---| "bad_request"
---| "bad_subject"
---| "closed"
---| "too_large"
---| "queue_full"
---| "spool_full"
---| "spool_io"
---| "too_many_connections"
---| "memory"
---| "no_resources"
---| "not_stored"
---| "expired"
---| "denied"
---| "timeout"
---| "no_responders"
---| "disconnected"
---| "cancelled"
---| "not_found"
---| "conflict"
---| "jetstream"
---| "internal"
---| "raised"

---Names with a text each, or with several.
---@alias rgw_nats.Headers table<string, string|string[]>

---JSON's null.
---@class rgw_nats.Null

---@class rgw_nats
---@field _VERSION string The name and the version of the module.
---@field null rgw_nats.Null JSON's null, a value that a table can hold.
local rgw_nats = {}

---Sends the record of a request once for each rule that the request fits.
---@param Request rgw_nats.Request|table
---@param configuration string|rgw_nats.Configuration
---@return true? accepted, string? message, rgw_nats.Code? code
function rgw_nats.notify(Request, configuration) end

---Refuses a request before it is done where its event would find no room, on Ceph 20.2.
---@param Request rgw_nats.Request|table
---@param configuration string|rgw_nats.Configuration
---@param options? rgw_nats.AdmitOptions
---@return true|integer? verdict, string? message, rgw_nats.Code? code
function rgw_nats.admit(Request, configuration, options) end

---Lists the messages of a spool that will not be delivered.
---@param configuration string|rgw_nats.Configuration
---@param options? rgw_nats.DeadLetterOptions
---@return rgw_nats.DeadLetter[]? letters, string? message, rgw_nats.Code? code
function rgw_nats.dead_letters(configuration, options) end

---Sends dead letters again, each under a new id, so that no stream takes it for a repetition.
---@param configuration string|rgw_nats.Configuration
---@param positions integer[]
---@return { replayed: integer }? result, string? message, rgw_nats.Code? code
function rgw_nats.replay(configuration, positions) end

---Removes dead letters for good.
---@param configuration string|rgw_nats.Configuration
---@param which integer[]|{ older_than_ms: integer }
---@return { purged: integer }? result, string? message, rgw_nats.Code? code
function rgw_nats.purge(configuration, which) end

---Tells all that is known of the process' connections.
---@return rgw_nats.Status? state, string? message, rgw_nats.Code? code
function rgw_nats.status() end

---Gives a handle on the connection to these servers with these options: the one that the process has, or a new one.
---@param servers string|string[]
---@param options? rgw_nats.Options
---@return rgw_nats.Connection? connection, string? message, rgw_nats.Code? code
function rgw_nats.connect(servers, options) end

---Makes a poller.
---@return rgw_nats.Poller? poller, string? message, rgw_nats.Code? code
function rgw_nats.poller() end

---Waits.
---@param milliseconds number
---@return true? ok, string? message, rgw_nats.Code? code
function rgw_nats.sleep(milliseconds) end

---Has the running coroutine yield where it would wait.
---@param on boolean
---@return true? ok, string? message, rgw_nats.Code? code
function rgw_nats.yielding(on) end

---Makes JSON of a value.
---@param value any
---@return string? text, string? message, rgw_nats.Code? code
function rgw_nats.encode(value) end

---Makes a value of JSON.
---@param text string
---@return any value, string? message, rgw_nats.Code? code
function rgw_nats.decode(text) end

---Makes a table an array for `encode`, even if it is empty.
---@param table? any[]
---@return any[]? list, string? message, rgw_nats.Code? code
function rgw_nats.array(table) end

-- Connections --------------------------------------------------------------------------------------------------------

---A script's hold on a connection.
---@class rgw_nats.Connection
local Connection = {}

---Sends a message.
---@param subject string
---@param payload? string
---@param headers? rgw_nats.Headers
---@param reply? string
---@return true? accepted, string? message, rgw_nats.Code? code
function Connection:publish(subject, payload, headers, reply) end

---Asks a question and waits for the first answer.
---@param subject string
---@param payload? string
---@param options? rgw_nats.RequestOptions
---@return rgw_nats.Message? answer, string? message, rgw_nats.Code? code
function Connection:request(subject, payload, options) end

---Asks a question, and goes on: the answer is the result of a future.
---@param subject string
---@param payload? string
---@param options? rgw_nats.RequestOptions
---@return rgw_nats.Future? future, string? message, rgw_nats.Code? code
function Connection:request_async(subject, payload, options) end

---Asks a question and collects the answers of many.
---@param subject string
---@param payload? string
---@param options? rgw_nats.RequestManyOptions
---@return rgw_nats.Message[]? answers, string? message, rgw_nats.Code? code
function Connection:request_many(subject, payload, options) end

---Has messages come in, from now on and over all further connections.
---@param subject string
---@param options? rgw_nats.SubscribeOptions
---@return rgw_nats.Subscription? subscription, string? message, rgw_nats.Code? code
function Connection:subscribe(subject, options) end

---Waits until the server has all that was published and subscribed over this handle's connection before.
---@param timeout_ms? number
---@return true? ok, string? message, rgw_nats.Code? code
function Connection:flush(timeout_ms) end

---Measures how long a message takes to the server and back.
---@param timeout_ms? number
---@return { milliseconds: number }? took, string? message, rgw_nats.Code? code
function Connection:rtt(timeout_ms) end

---Tells what the server that is connected to says of itself.
---@return rgw_nats.ServerInfo? info, string? message, rgw_nats.Code? code
function Connection:server_info() end

---Gives a handle on JetStream, over this connection.
---@param options? rgw_nats.JetStreamOptions
---@return rgw_nats.JetStream? js, string? message, rgw_nats.Code? code
function Connection:jetstream(options) end

---Tells all that is known of the connection.
---@return rgw_nats.ConnectionStatus? state, string? message, rgw_nats.Code? code
function Connection:status() end

---Ends the handle in order: what was published goes out, what is on its way to its subscriptions comes in.
---@param timeout_ms? number
---@return true? ok, string? message, rgw_nats.Code? code
function Connection:drain(timeout_ms) end

---Ends the handle.
---@return true? ok, string? message, rgw_nats.Code? code
function Connection:close() end

---How to ask.
---@class (exact) rgw_nats.RequestOptions
---@field timeout_ms? integer How long the answer is waited for, in milliseconds.
---@field headers? rgw_nats.Headers The headers of the question.

---How to ask many.
---@class (exact) rgw_nats.RequestManyOptions
---@field timeout_ms? integer How long answers are waited for in all, in milliseconds.
---@field headers? rgw_nats.Headers The headers of the question.
---@field max? integer After how many answers it ends.
---@field stall_ms? integer It ends when no further answer has come for so many milliseconds.
---@field sentinel? boolean Whether an answer without headers and bytes ends it, which is not in the list.

---How to subscribe.
---@class (exact) rgw_nats.SubscribeOptions
---@field queue? string The name of a group; each message goes to one of its members.
---@field capacity? integer How many messages may lie here until the script takes them.
---@field capacity_bytes? integer How many bytes of them, with 128 for each message and 64 for each header.
---What becomes of a message for which there is no room: it is dropped; the oldest are; or the subscription ends,
---and `next` fails with `queue_full` once what lies here is taken.
---@field slow_consumer? "drop_new"|"drop_oldest"|"end"

---What a server tells of itself.
---@class (exact) rgw_nats.ServerInfo
---@field server_id string Its id.
---@field server_name string Its name.
---@field version string Its version.
---@field cluster string The name of its cluster; empty, if it is in none.
---@field max_payload integer Its largest message, in bytes, headers included.
---@field client_id integer The number of this connection, there.
---@field client_ip string The address that it sees this side at.
---@field headers boolean Whether it knows headers.
---@field jetstream boolean Whether it has JetStream.
---@field lame_duck_mode boolean Whether it is about to end.
---@field connect_urls string[] A list of further servers of its cluster, host and port.

-- What comes in, and what is still to come ----------------------------------------------------------------------------

---Messages that come in. `for message in subscription do` calls `next()` until it fails.
---@class rgw_nats.Subscription
---@operator call: rgw_nats.Message?
local Subscription = {}

---Gives the next message.
---@param timeout_ms? number
---@return rgw_nats.Message? next, string? message, rgw_nats.Code? code
function Subscription:next(timeout_ms) end

---Ends it: at once, without what lies here, or after so many messages.
---@param max? integer
---@return true? ok, string? message, rgw_nats.Code? code
function Subscription:unsubscribe(max) end

---Has no more sent, and waits until what is on its way has come in.
---@param timeout_ms? number
---@return true? ok, string? message, rgw_nats.Code? code
function Subscription:drain(timeout_ms) end

---Tells its numbers.
---@return rgw_nats.SubscriptionStatus? state, string? message, rgw_nats.Code? code
function Subscription:status() end

---The numbers of a subscription.
---@class (exact) rgw_nats.SubscriptionStatus
---@field subject string Its subject.
---@field pending integer How many messages lie here.
---@field pending_bytes integer How many bytes of them.
---@field received integer How many have come in since its beginning.
---@field dropped integer How many of these found no room.
---@field open boolean Whether more may come.

---A message that came in.
---@class rgw_nats.Message
---@field subject string Its subject.
---@field payload string The bytes.
---The headers: names with a string each, or with a list of strings, if there are several of one name.
---@field headers rgw_nats.Headers
---@field reply? string Where an answer is to go to; nil, if none is wanted.
---@field connection? rgw_nats.Connection By which it is answered; nil without `reply`.
local Message = {}

---Answers a message that wants an answer.
---@param payload? string
---@param headers? rgw_nats.Headers
---@return true? accepted, string? message, rgw_nats.Code? code
function Message:respond(payload, headers) end

---What is still to come.
---@class rgw_nats.Future
local Future = {}

---Waits for its end, and returns its result.
---@param timeout_ms? number
---@return any result, string? message, rgw_nats.Code? code
function Future:wait(timeout_ms) end

---Says whether it has ended.
---@return true? done, string? message, rgw_nats.Code? code
function Future:done() end

---Returns its result, if it has ended.
---@return any result, string? message, rgw_nats.Code? code
function Future:result() end

---Ends it, with `cancelled`, unless it has ended.
---@return true? ok, string? message, rgw_nats.Code? code
function Future:cancel() end

---Tells which of many futures have ended.
---@class rgw_nats.Poller
local Poller = {}

---Watches a future.
---@param future rgw_nats.Future
---@param number integer
---@return true? ok, string? message, rgw_nats.Code? code
function Poller:add(future, number) end

---Waits for the first of the futures that it watches, and takes those that have ended off.
---@param timeout_ms? number
---@return integer[]? numbers, string? message, rgw_nats.Code? code
function Poller:wait(timeout_ms) end

---Tells how many futures it watches.
---@return { watched: integer }? state, string? message, rgw_nats.Code? code
function Poller:status() end

return rgw_nats
