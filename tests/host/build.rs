//! Compiles what only C++ can do: throw and catch its exceptions, as Ceph 16 does.

fn main() {
    println!("cargo:rerun-if-changed=src/foreign.cpp");
    println!("cargo:rerun-if-changed=build.rs");
    cc::Build::new().cpp(true).file("src/foreign.cpp").compile("foreign");
    // The module, too, is to find this one before glibc's.
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=__register_atfork");
}
