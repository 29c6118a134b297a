-- ffi_sqlite.lua: a database from Lua, with nothing but its C header (needs libsqlite3.so.0): moth scripts/examples/ffi_sqlite.lua
local ffi = require "ffi"
local sqlite = ffi.load("libsqlite3.so.0", [[
  typedef struct sqlite3 sqlite3;
  typedef struct sqlite3_stmt sqlite3_stmt;
  enum { SQLITE_OK = 0, SQLITE_ROW = 100, SQLITE_DONE = 101 };
  int sqlite3_open(const char *path, sqlite3 **db);
  int sqlite3_close(sqlite3 *db);
  const char *sqlite3_errmsg(sqlite3 *db);
  int sqlite3_exec(sqlite3 *, const char *sql, int (*row)(void *, int, char **, char **), void *, char **error);
  int sqlite3_prepare_v2(sqlite3 *, const char *sql, int n, sqlite3_stmt **, const char **tail);
  int sqlite3_bind_int64(sqlite3_stmt *, int, int64_t);
  int sqlite3_bind_blob(sqlite3_stmt *, int, const void *, int n, void *destructor);
  int sqlite3_step(sqlite3_stmt *);
  int sqlite3_reset(sqlite3_stmt *);
  int sqlite3_finalize(sqlite3_stmt *);
  const void *sqlite3_column_blob(sqlite3_stmt *, int);
]])

local handle = ffi.new "sqlite3 *"
assert(sqlite.sqlite3_open(":memory:", handle) == sqlite.SQLITE_OK)
local db = handle[0]

local function run(sql) assert(sqlite.sqlite3_exec(db, sql, nil, nil, nil) == 0, ffi.string(sqlite.sqlite3_errmsg(db))) end
local function prepare(sql)
  local statement = ffi.new "sqlite3_stmt *"
  assert(sqlite.sqlite3_prepare_v2(db, sql, -1, statement, nil) == 0, ffi.string(sqlite.sqlite3_errmsg(db)))
  return ffi.gc(statement[0], sqlite.sqlite3_finalize)
end

-- tensors go in and come out as blobs; SQLITE_TRANSIENT (-1) lets SQLite copy them at once
run "create table vectors (id integer primary key, v blob)"
torch.manual_seed(0)
local vectors = torch.randn(5, 8)
local insert = prepare "insert into vectors values (?, ?)"
for i = 0, 4 do
  sqlite.sqlite3_bind_int64(insert, 1, i)
  sqlite.sqlite3_bind_blob(insert, 2, vectors[i], 8 * 4, ffi.cast("void *", -1))
  assert(sqlite.sqlite3_step(insert) == sqlite.SQLITE_DONE)
  sqlite.sqlite3_reset(insert)
end

local select = prepare "select v from vectors order by id"
local back = {}
while sqlite.sqlite3_step(select) == sqlite.SQLITE_ROW do
  local memory = ffi.cast("const float *", sqlite.sqlite3_column_blob(select, 0))
  back[#back + 1] = ffi.tensor(memory, { 8 }):clone()
end
print("equal after the database:", torch.stack(back):equal(vectors))

insert, select = nil, nil -- luacheck: ignore (their finalizers run before the database closes)
collectgarbage()
assert(sqlite.sqlite3_close(db) == 0)
