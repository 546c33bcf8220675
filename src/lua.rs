//! The boundary with Lua: the only layer that knows mlua and `lua_State`.
//!
//! A Lua error that is no string aborts radosgw (rgw-lua.md; style.md 3.1), and mlua's errors are no strings. So mlua's
//! own layer is not used; all goes through its bindings, and every function that Lua can call through one mechanism,
//! [`boundary`], which lets nothing out but results.

mod admit;
mod boundary;
mod bucket;
mod client;
mod dead;
mod features;
mod ffi;
mod fields;
mod handle;
mod json;
mod maps;
mod module;
mod notify;
mod objects;
mod read;
mod request;
mod write;

pub use module::luaopen_rgw_nats;

// Within a gateway Lua's functions come from the program; a test must bring them.
#[cfg(test)]
#[link(name = "lua5.3")]
unsafe extern "C" {}
