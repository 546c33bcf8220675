//! Functions of glibc by the oldest version of each, so that the library loads with glibc 2.28 or newer.
//!
//! glibc 2.34 took the functions of libpthread and libdl in and gave each a second version, though nothing else of them is
//! new; a linker takes the newest version that the building machine has. Here each such function gets a definition, for this
//! library alone, that jumps to the first version. `scripts/check_library.py` finds what is missing here.

/// By processor: the instruction that jumps to `$to`.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    ($to:expr) => {
        concat!("jmp qword ptr [rip + ", $to, "@GOTPCREL]")
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    ($to:expr) => {
        concat!("b ", $to)
    };
}

/// Defines the function `$name`, hidden from other libraries.
macro_rules! define {
    ($name:expr, $($line:expr),*) => {
        std::arch::global_asm!(
            concat!(".weak ", $name, "\n.hidden ", $name, "\n.type ", $name, ", %function\n", $name, ":"),
            $($line),*
        );
    };
}

macro_rules! first_version {
    ($version:literal: $($name:ident)*) => {
        $(
            std::arch::global_asm!(concat!(".symver rgw_nats_", stringify!($name), ", ", stringify!($name), "@", $version));
            define!(stringify!($name), jump!(concat!("rgw_nats_", stringify!($name))));
        )*
    };
}

#[cfg(target_arch = "x86_64")]
first_version! {
    "GLIBC_2.2.5":
    dladdr dlopen dlsym
    pthread_attr_setstacksize pthread_create pthread_detach pthread_join pthread_key_create pthread_key_delete
    pthread_setspecific pthread_sigmask
}
#[cfg(target_arch = "x86_64")]
first_version! { "GLIBC_2.12": pthread_setname_np }
#[cfg(target_arch = "aarch64")]
first_version! {
    "GLIBC_2.17":
    dladdr dlopen dlsym
    pthread_attr_setstacksize pthread_create pthread_detach pthread_join pthread_key_create pthread_key_delete
    pthread_setname_np pthread_setspecific pthread_sigmask
}

// Until 2.33 these two were inline functions in headers, around others with the number of the structure's layout.
#[cfg(target_arch = "x86_64")]
mod layout {
    define!("stat64", "mov rdx, rsi", "mov rsi, rdi", "mov edi, 1", jump!("__xstat64"));
    define!("fstat64", "mov rdx, rsi", "mov esi, edi", "mov edi, 1", jump!("__fxstat64"));
    // New in 2.30.
    define!("gettid", "mov eax, 186", "syscall", "ret");
}
#[cfg(target_arch = "aarch64")]
mod layout {
    define!("stat64", "mov x2, x1", "mov x1, x0", "mov w0, #0", jump!("__xstat64"));
    define!("fstat64", "mov x2, x1", "mov w1, w0", "mov w0, #0", jump!("__fxstat64"));
    define!("gettid", "mov x8, #178", "svc #0", "ret");
}
