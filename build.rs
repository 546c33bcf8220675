//! How the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Clones that share a target directory must not take each other's library for their own.
    println!("cargo:rerun-if-env-changed=RGW_NATS_CLONE");
    // Lua unloads a C library with the state that loaded it, and RGW has a state per request. Our thread would be left
    // without its code.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // References within the library need no look-up when it is loaded.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
