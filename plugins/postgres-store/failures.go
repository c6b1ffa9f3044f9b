package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/service-islands/islands/sdk"
)

// Codes of the server that lead to something else than an error of their class.
const (
	deadlock      = "40P01"
	serialization = "40001"
	noTable       = "42P01"
	noColumn      = "42703"
)

// reasons says what a code of the server, or a class of codes, means to an operator. These are not the call's fault, and
// it may well succeed later.
var reasons = map[string]string{
	"08":     "the database is unreachable",
	"28":     "the database refuses the login",
	"3D":     "there is no such database on the server",
	"40":     "others keep changing the same rows",
	"53":     "the database ran out of room, memory or connections",
	"57":     "the database is shutting down or starting",
	"58":     "the database's disk cannot be read or written",
	"25006":  "the database is read-only",
	"42501":  "the database refuses: the user lacks a right",
	"55P03":  "others hold the same rows",
	"57014":  "the database ended the statement",
	noTable:  "the schema is missing",
	noColumn: "the schema is missing",
}

// sqlState returns the server's code of an error, empty when the error is not the server's.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// kindOf returns the kind of an error of the database, and what to tell about it: never the driver's words, which name
// hosts and users.
func kindOf(err error) (sdk.Kind, string) {
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return e.Kind, err.Error()
	}
	if code := sqlState(err); len(code) == 5 {
		for _, key := range []string{code, code[:2]} {
			if reason, known := reasons[key]; known {
				return sdk.Unavailable, fmt.Sprintf("%s (SQLSTATE %s)", reason, code)
			}
		}
		return sdk.Internal, fmt.Sprintf("the database refuses a statement (SQLSTATE %s)", code)
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		return sdk.Unavailable, "the database is closed"
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return sdk.Unavailable, "the database does not answer"
	}
	if _, ok := errors.AsType[net.Error](err); ok || isConnection(err) {
		return sdk.Unavailable, "the database is unreachable"
	}
	return sdk.Internal, fmt.Sprintf("an answer of the database cannot be used (%T)", err)
}

// isConnection reports whether a connection broke or was never there.
func isConnection(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return pgconn.SafeToRetry(err) // Nothing was sent: the connection was found closed.
}

// classify gives an error of an operation its kind. A call whose context ended failed for that reason, whatever the
// database made of it.
func classify(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*sdk.Error](err); !ours && ctx.Err() != nil {
		return sdk.Errorf(sdk.KindOf(ctx.Err()), "%s: %w", operation, ctx.Err())
	}
	kind, reason := kindOf(err)
	return &sdk.Error{Kind: kind, Message: operation + ": " + reason}
}
