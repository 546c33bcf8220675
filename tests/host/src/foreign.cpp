// Ceph 16 throws from a metamethod when a script reads a field that Request lacks (rgw_lua_utils.h,
// throw_unknown_field), and catches it where it had the script run (rgw_lua_request.cc, execute).

#include <stdexcept>

extern "C" void foreign_throw() { throw std::runtime_error("unknown field name"); }

extern "C" int foreign_catch(void (*call)(void *), void *argument) {
  try {
    call(argument);
    return 0;
  } catch (const std::runtime_error &) {
    return 1;
  }
}
