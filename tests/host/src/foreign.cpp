// What only C++ can do.

#include <atomic>
#include <dlfcn.h>
#include <stdexcept>
#include <unistd.h>

// Ceph 16 throws from a metamethod when a script reads a field that Request lacks (rgw_lua_utils.h,
// throw_unknown_field), and catches it where it had the script run (rgw_lua_request.cc, execute).
extern "C" void foreign_throw() { throw std::runtime_error("unknown field name"); }

extern "C" int foreign_catch(void (*call)(void *), void *argument) {
  try {
    call(argument);
    return 0;
  } catch (const std::runtime_error &) {
    return 1;
  }
}

// Stands before glibc's function of this name, which pthread_atfork calls: while it holds, a thread that is about to
// register its handlers of fork stands still there, and another one can fork at that very moment.
static std::atomic<bool> holding, held;

extern "C" void foreign_hold(bool hold) { holding = hold; }

extern "C" bool foreign_is_held() { return held; }

extern "C" int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void *library) {
  while (holding) {
    held = true;
    usleep(1000);
  }
  using Register = int (*)(void (*)(), void (*)(), void (*)(), void *);
  auto next = reinterpret_cast<Register>(dlsym(RTLD_NEXT, "__register_atfork"));
  return next(prepare, parent, child, library);
}
