/* The least that a C module can be, to compare with: one function, and one that reads of `Request` what a record needs and
 * does nothing with it. No module that writes the record can cost less.
 */
#include <lauxlib.h>
#include <lua.h>

static void text(lua_State *L, const char *field) {
  lua_getfield(L, -1, field);
  lua_tolstring(L, -1, NULL);
  lua_pop(L, 1);
}

static void walk(lua_State *L, const char *field) {
  lua_getfield(L, -1, field);
  int map = lua_gettop(L);
  luaL_getmetafield(L, map, "__pairs");
  lua_pushvalue(L, map);
  lua_call(L, 1, 3);
  for (;;) {
    lua_pushvalue(L, map + 1);
    lua_pushvalue(L, map + 2);
    lua_pushvalue(L, map + 3);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) break;
    lua_tolstring(L, -1, NULL);
    lua_pop(L, 1);
    lua_replace(L, map + 3);
  }
  lua_settop(L, map - 1);
}

static void within(lua_State *L, const char *table, const char *const *fields) {
  lua_getfield(L, -1, table);
  for (; *fields; fields++) text(L, *fields);
  lua_pop(L, 1);
}

static int read_record(lua_State *L) {
  static const char *const response[] = {"HTTPStatusCode", NULL}, *const group[] = {"Name", NULL}, *const id[] = {"Id", NULL};
  static const char *const object[] = {"Name", "Instance", "Size", NULL}, *const environment[] = {"aws:EpochTime", "aws:SourceIp", NULL};
  lua_settop(L, 1);
  text(L, "RGWOp");
  within(L, "Response", response);
  lua_getfield(L, -1, "HTTP");
  text(L, "QueryString");
  walk(L, "Metadata");
  lua_pop(L, 1);
  text(L, "Id");
  text(L, "RGWId");
  within(L, "ZoneGroup", group);
  lua_getfield(L, -1, "Bucket");
  text(L, "Tenant");
  text(L, "Name");
  text(L, "Id");
  within(L, "User", id);
  lua_pop(L, 1);
  within(L, "Object", object);
  lua_getfield(L, -1, "ObjectOwner");
  within(L, "User", id);
  lua_pop(L, 1);
  walk(L, "Tags");
  within(L, "Environment", environment);
  lua_pushboolean(L, 1);
  return 1;
}

int luaopen_bare(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, read_record);
  lua_setfield(L, -2, "read");
  return 1;
}
