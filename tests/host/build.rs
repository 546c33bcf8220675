//! Compiles what throws and catches C++ exceptions, as Ceph 16 does.

fn main() {
    println!("cargo:rerun-if-changed=src/foreign.cpp");
    println!("cargo:rerun-if-changed=build.rs");
    cc::Build::new().cpp(true).file("src/foreign.cpp").compile("foreign");
}
