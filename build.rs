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
    // Before glibc 2.34 threads and dlopen were in these, which a Lua need not have loaded; src/glibc.rs has the versions.
    let target = |what| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("ENV") == "gnu" && ["x86_64", "aarch64"].contains(&target("ARCH").as_str()) {
        println!(
            "cargo:rustc-cdylib-link-arg=-Wl,--push-state,--no-as-needed,-l:libpthread.so.0,-l:libdl.so.2,--pop-state"
        );
    }
}
