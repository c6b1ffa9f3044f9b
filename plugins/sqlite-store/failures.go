package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/service-islands/islands/sdk"
)

// reasons says what a result code of SQLite means to an operator, for those that are the surroundings' fault.
var reasons = map[int]string{
	sqlite3.SQLITE_BUSY:     "the database is locked by another process",
	sqlite3.SQLITE_LOCKED:   "the database is locked by another process",
	sqlite3.SQLITE_PROTOCOL: "the database is locked by another process",
	sqlite3.SQLITE_FULL:     "the disk is full",
	sqlite3.SQLITE_IOERR:    "the disk cannot be read or written",
	sqlite3.SQLITE_READONLY: "the database cannot be written",
	sqlite3.SQLITE_PERM:     "the database cannot be written",
	sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
	sqlite3.SQLITE_NOMEM:    "memory ran out",
	sqlite3.SQLITE_CORRUPT:  "the file is damaged",
	sqlite3.SQLITE_NOTADB:   "the file is not a SQLite database",
}

// resultCode returns SQLite's code of an error, 0 for an error of something else.
func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff // What lies above says where it came from.
	}
	return sqlite3.SQLITE_OK
}

// kindOf returns the kind of an error of the database, and what to tell about it.
func kindOf(err error) (sdk.Kind, string) {
	if kind := sdk.KindOf(err); kind != sdk.Internal {
		return kind, err.Error()
	}
	if reason, known := reasons[resultCode(err)]; known {
		return sdk.Unavailable, reason
	}
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) {
		return sdk.Unavailable, "the database is closed"
	}
	return sdk.Internal, err.Error()
}

// classify gives an error of an operation its kind. A call whose context ended failed for that reason, whatever the
// database made of it.
func classify(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	if sdk.KindOf(err) == sdk.Internal && ctx.Err() != nil {
		err = ctx.Err()
	}
	kind, reason := kindOf(err)
	return &sdk.Error{Kind: kind, Message: operation + ": " + reason, Err: err}
}

// hopeless lists why a path will never lead to a database, whoever tries again.
var hopeless = []error{
	fs.ErrInvalid, fs.ErrPermission, syscall.ENOTDIR, syscall.EISDIR, syscall.EROFS, syscall.ENAMETOOLONG,
}

// unusable returns the error of a file that cannot be opened, naming its path.
func unusable(path string, err error) error {
	kind, reason := kindOf(err)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		kind, reason = sdk.Unavailable, e.Err.Error()
	}
	for _, h := range hopeless {
		if errors.Is(err, h) {
			kind = sdk.InvalidArgument
		}
	}
	if code := resultCode(err); code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_CORRUPT {
		kind = sdk.InvalidArgument
	}
	setting := ""
	if kind == sdk.InvalidArgument {
		setting = "path"
	}
	return &sdk.Error{
		Kind: kind, Setting: setting, Err: err,
		Message: fmt.Sprintf("database %q cannot be opened: %s; set path to a file that this user may write, and list its folder in the writes of the island", path, reason),
	}
}
