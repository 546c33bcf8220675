/* Runs a script as radosgw runs one: a new Lua state for each request, with a Request whose fields come from C closures as
 * release 18 has them (names without case, unknown fields raise, maps walked through __pairs), closed after it.
 *
 *   state [-n REQUESTS] [-b BATCH] [-r READY] [-w SECONDS] [-m METADATA] [-t TAGS] [-p PATH] [-c CPATH] SCRIPT
 *
 * After a tenth of the requests, and a batch at least, READY is run until it returns true; then the rest is measured, and
 * READY is run again after each BATCH, unmeasured. Under callgrind only what is measured is counted. Prints one line of JSON.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

/* What Lua seeds the hashes of its strings with, in each state anew. The clock would give all states of a second the same seed,
 * and another one to each run: half a percent of a request, by chance. This gives each state one of its own, the same in each run. */
time_t time(time_t *to) {
  static time_t now = 1700000000;
  time_t next = __atomic_add_fetch(&now, 1, __ATOMIC_RELAXED);
  if (to) *to = next;
  return next;
}

static size_t heap, heap_peak;
static void *alloc(void *ud, void *p, size_t o, size_t n) {
  (void)ud;
  if (!p) o = 0;
  if (n == 0) { heap -= o; free(p); return NULL; }
  void *q = realloc(p, n);
  if (q) { heap += n - o; if (heap > heap_peak) heap_peak = heap; }
  return q;
}

enum kind { STR, INT, TAB, MAP, NIL };
struct field { const char *name; enum kind kind; const char *s; long i; const struct field *t; };
#define F_STR(n, v) {n, STR, v, 0, 0}
#define F_INT(n, v) {n, INT, 0, v, 0}
#define F_TAB(n, v) {n, TAB, 0, 0, v}
#define F_MAP(n, v) {n, MAP, 0, 0, v}
#define F_NIL(n) {n, NIL, 0, 0, 0}
#define END {0, NIL, 0, 0, 0}

static const struct field user[] = {F_STR("Tenant", ""), F_STR("Id", "tester"), END};
static const struct field bucket[] = {F_STR("Tenant", ""), F_STR("Name", "mybucket"), F_STR("Marker", "a164264a-7680-4efe-9372-8c53f1f5dbca.4112.1"),
  F_STR("Id", "a164264a-7680-4efe-9372-8c53f1f5dbca.4112.1"), F_STR("ZoneGroupId", "07d7e514-b9d2-4c97-8bdb-5aea18e95229"),
  F_STR("CreationTime", "2026-11-22 07:09:52"), F_STR("MTime", "1970-01-01 00:00:00"), F_INT("Count", 0), F_INT("Size", 0), F_TAB("User", user), END};
static const struct field object[] = {F_STR("Name", "images/2026/hello world.jpg"), F_STR("Instance", ""), F_STR("Id", "images/2026/hello world.jpg"),
  F_INT("Size", 4096), F_STR("MTime", "1970-01-01 00:00:00"), END};
static const struct field owner[] = {F_STR("DisplayName", "Tester"), F_TAB("User", user), END};
static const struct field zonegroup[] = {F_STR("Name", "default"), F_STR("Endpoint", ""), END};
static const struct field response[] = {F_INT("HTTPStatusCode", 200), F_INT("RGWCode", 0), F_STR("HTTPStatus", ""), F_STR("Message", ""), END};
#define MAX_ENTRIES 1000
static struct field metadata[MAX_ENTRIES + 4] = {F_STR("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
  F_STR("x-amz-date", "20261122T070952Z"), END};
static struct field tags[MAX_ENTRIES + 1] = {END};
static const struct field environment[] = {F_STR("sts:authentication", "false"), F_STR("aws:username", "tester"), F_STR("aws:UserAgent", "Boto3/1.43.11"),
  F_STR("aws:SourceIp", "127.0.0.1"), F_STR("aws:PrincipalType", "User"), F_STR("aws:EpochTime", "2026-11-22T07:05:54.862149371Z"), F_STR("aws:CurrentTime", "1795331154"), END};
static const struct field attributes[] = {F_STR("user.rgw.content_type", "image/jpeg"), END};
static const struct field none[] = {END};
static const struct field http[] = {F_MAP("Parameters", none), F_MAP("Resources", none), F_MAP("Metadata", metadata), F_STR("StorageClass", ""), F_STR("Host", "127.0.0.1"),
  F_STR("Method", "PUT"), F_STR("URI", "/mybucket/images/2026/hello%20world.jpg"), F_STR("QueryString", ""), F_STR("Domain", ""), END};
static const struct field request[] = {F_STR("RGWOp", "put_obj"), F_STR("DecodedURI", "/mybucket/images/2026/hello world.jpg"), F_INT("ContentLength", 4096),
  F_MAP("GenericAttributes", attributes), F_TAB("Response", response), F_NIL("SwiftAccountName"), F_TAB("Bucket", bucket), F_TAB("Object", object), F_NIL("CopyFrom"),
  F_TAB("ObjectOwner", owner), F_TAB("ZoneGroup", zonegroup), F_NIL("UserACL"), F_NIL("BucketACL"), F_NIL("ObjectACL"), F_MAP("Environment", environment), F_NIL("Policy"),
  F_TAB("UserPolicies", none), F_STR("RGWId", "100e-default-default"), F_TAB("HTTP", http), F_STR("Time", "2026-11-22 07:09:52"), F_STR("Dialect", "s3"),
  F_STR("Id", "a164264a-7680-4efe-9372-8c53f1f5dbca.4110.7269143302322000326"), F_STR("TransactionId", "tx0000064e12f51e45011c6-006b029540-100e-default"),
  F_MAP("Tags", tags), F_TAB("User", user), END};

static void proxy(lua_State *L, const struct field *fields, int is_map);
static void push(lua_State *L, const struct field *f) {
  switch (f->kind) {
    case STR: lua_pushstring(L, f->s); break;
    case INT: lua_pushinteger(L, f->i); break;
    case TAB: proxy(L, f->t, 0); break;
    case MAP: proxy(L, f->t, 1); break;
    case NIL: lua_pushnil(L); break;
  }
}
static int index_fields(lua_State *L) {
  const struct field *f = lua_touserdata(L, lua_upvalueindex(1));
  const char *k = luaL_checkstring(L, 2);
  for (; f->name; f++) if (strcasecmp(f->name, k) == 0) { push(L, f); return 1; }
  return luaL_error(L, "unknown field name: %s provided to: Request", k);
}
static int index_map(lua_State *L) {
  const struct field *f = lua_touserdata(L, lua_upvalueindex(1));
  const char *k = luaL_checkstring(L, 2);
  for (; f->name; f++) if (strcmp(f->name, k) == 0) { push(L, f); return 1; }
  lua_pushnil(L);
  return 1;
}
/* The entry behind a key. RGW looks it up in a tree; where the last one was is as good. */
static const struct field *after(const struct field *f, const char *k) {
  static const struct field *last;
  if (!last || !last->name || strcmp(last->name, k)) for (last = f; last->name && strcmp(last->name, k);) last++;
  return last->name ? ++last : last;
}
static int map_next(lua_State *L) {
  const struct field *f = lua_touserdata(L, lua_upvalueindex(1));
  if (!lua_isnil(L, 2)) { const char *k = luaL_checkstring(L, 2); f = after(f, k); }
  if (!f->name) { lua_pushnil(L); lua_pushnil(L); return 2; }
  lua_pushstring(L, f->name);
  push(L, f);
  return 2;
}
static int map_pairs(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, map_next, 1);
  lua_pushnil(L);
  lua_pushnil(L);
  return 3;
}
static int map_len(lua_State *L) {
  const struct field *f = lua_touserdata(L, lua_upvalueindex(1));
  int n = 0;
  while (f[n].name) n++;
  lua_pushinteger(L, n);
  return 1;
}
static int refuse(lua_State *L) { return luaL_error(L, "trying to iterate over, measure or write a field that does not allow it"); }
static void proxy(lua_State *L, const struct field *fields, int is_map) {
  static const char *events[] = {"__index", "__pairs", "__len", "__newindex"};
  lua_CFunction fs[] = {is_map ? index_map : index_fields, is_map ? map_pairs : refuse, is_map ? map_len : refuse, refuse};
  lua_newtable(L);
  lua_createtable(L, 0, 4);
  for (int i = 0; i < 4; i++) {
    lua_pushlightuserdata(L, (void *)fields);
    lua_pushcclosure(L, fs[i], 1);
    lua_setfield(L, -2, events[i]);
  }
  lua_setmetatable(L, -2);
}
static int quiet(lua_State *L) { luaL_checkstring(L, 1); return 0; }

static double clock_us(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1e6 + t.tv_nsec * 1e-3; }
static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }

static void fill(struct field *map, int count, const char *key, const char *value) {
  for (int i = 0; i < count; i++) {
    char *name = malloc(64), *text = malloc(64);
    snprintf(name, 64, "%s%d", key, i);
    snprintf(text, 64, "%s%d", value, i);
    map[i] = (struct field)F_STR(name, text);
  }
  map[count] = (struct field)END;
}

/* What the client has sent for the tags. */
static void fill_tagging(struct field *map, int count) {
  char *text = calloc(count + 1, 64);
  for (int i = 0; i < count; i++) sprintf(text + strlen(text), "%stag-%d=value%%20%d", i ? "&" : "", i, i);
  map[0] = (struct field)F_STR("x-amz-tagging", text);
  map[1] = (struct field)END;
}

static const char *path = "", *cpath = "";

static lua_State *open_state(void) {
  lua_State *L = lua_newstate(alloc, NULL);
  luaL_openlibs(L);
  static const char *gone[] = {"load", "loadfile", "loadstring", "dofile", "debug"};
  for (int k = 0; k < 5; k++) { lua_pushnil(L); lua_setglobal(L, gone[k]); }
  lua_getglobal(L, "package");
  lua_pushstring(L, path); lua_setfield(L, -2, "path");
  lua_pushstring(L, cpath); lua_setfield(L, -2, "cpath");
  lua_pop(L, 1);
  lua_pushcfunction(L, quiet); lua_setglobal(L, "RGWDebugLog");
  proxy(L, none, 0); lua_getmetatable(L, -1); lua_pushstring(L, "RGW"); lua_setfield(L, -2, "__name"); lua_pop(L, 1); lua_setglobal(L, "RGW");
  proxy(L, request, 0); lua_getmetatable(L, -1); lua_pushstring(L, "RequestMeta"); lua_setfield(L, -2, "__name"); lua_pop(L, 1); lua_setglobal(L, "Request");
  return L;
}

static int run(const char *script) {
  lua_State *L = open_state();
  if (luaL_loadstring(L, script) || lua_pcall(L, 0, 1, 0)) {
    const char *e = lua_tostring(L, -1);
    fprintf(stderr, "state: %s\n", e ? e : "the error value is no string: radosgw would abort here");
    exit(e ? 1 : 3);
  }
  int result = lua_toboolean(L, -1);
  lua_close(L);
  return result;
}

static char *read_file(const char *name) {
  FILE *f = fopen(name, "rb");
  if (!f) { fprintf(stderr, "state: cannot read %s\n", name); exit(2); }
  char *text = calloc(1, 1 << 16);
  if (fread(text, 1, (1 << 16) - 1, f) == 0 && ferror(f)) exit(2);
  fclose(f);
  return text;
}

static void wait_until(const char *ready, double seconds) {
  if (!ready) return;
  double end = clock_us(CLOCK_MONOTONIC) + seconds * 1e6;
  while (!run(ready)) {
    if (clock_us(CLOCK_MONOTONIC) > end) { fprintf(stderr, "state: not ready after %g s\n", seconds); exit(1); }
    usleep(1000);
  }
}

int main(int argc, char **argv) {
  int n = 1000, batch = 1000, metadatas = 2, tag_count = 2, c;
  double patience = 60;
  const char *ready = NULL;
  while ((c = getopt(argc, argv, "n:b:r:w:m:t:p:c:")) != -1) switch (c) {
    case 'n': n = atoi(optarg); break;
    case 'b': batch = atoi(optarg); break;
    case 'r': ready = read_file(optarg); break;
    case 'w': patience = atof(optarg); break;
    case 'm': metadatas = atoi(optarg); break;
    case 't': tag_count = atoi(optarg); break;
    case 'p': path = optarg; break;
    case 'c': cpath = optarg; break;
    default: return 2;
  }
  if (optind + 1 != argc || n < 1 || batch < 1 || metadatas > MAX_ENTRIES || tag_count > MAX_ENTRIES) {
    fprintf(stderr, "usage: the head of bench/programs/state.c\n");
    return 2;
  }
  fill(metadata + 2, metadatas, "x-amz-meta-name-", "value ");
  fill(tags, tag_count, "tag-", "value ");
  if (tag_count > 0) fill_tagging(metadata + 2 + metadatas, tag_count);
  char *script = read_file(argv[optind]);
  double *walls = malloc(n * sizeof *walls), cpu = 0;
  /* So that the memory for them is there before anything is measured. */
  for (int i = 0; i < n; i++) walls[i] = -1;
  int warm = n / 10 > batch ? n / 10 : batch;
  for (int i = 0; i < warm; i++) {
    run(script);
    if ((i + 1) % batch == 0) wait_until(ready, patience);
  }
  wait_until(ready, patience);
  size_t resident_before = 0, resident_after = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (!statm || fscanf(statm, "%*u %zu", &resident_before) != 1) return 1;
  for (int i = 0; i < n;) {
    heap_peak = 0;
    CALLGRIND_ZERO_STATS;
    double before = clock_us(CLOCK_THREAD_CPUTIME_ID);
    for (int k = 0; k < batch && i < n; k++, i++) {
      double start = clock_us(CLOCK_MONOTONIC);
      run(script);
      walls[i] = clock_us(CLOCK_MONOTONIC) - start;
    }
    cpu += clock_us(CLOCK_THREAD_CPUTIME_ID) - before;
    CALLGRIND_DUMP_STATS;
    wait_until(ready, patience);
  }
  statm = freopen("/proc/self/statm", "r", statm);
  if (!statm || fscanf(statm, "%*u %zu", &resident_after) != 1) return 1;
  qsort(walls, n, sizeof *walls, order);
  printf("{\"requests\": %d, \"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_us\": %.3f, \"heap_peak\": %zu, "
         "\"resident_before\": %zu, \"resident_after\": %zu}\n",
         n, walls[n / 2], walls[n * 99L / 100], cpu / n, heap_peak, resident_before * 4096, resident_after * 4096);
  return 0;
}
