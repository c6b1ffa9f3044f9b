package process

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// codeOf is the gRPC code of each kind, so that tools and islands in other languages see a fitting one even without the
// Failure detail.
var codeOf = map[sdk.Kind]codes.Code{
	sdk.Internal:          codes.Internal,
	sdk.InvalidArgument:   codes.InvalidArgument,
	sdk.NotFound:          codes.NotFound,
	sdk.RateLimited:       codes.ResourceExhausted,
	sdk.Unavailable:       codes.Unavailable,
	sdk.DeadlineExceeded:  codes.DeadlineExceeded,
	sdk.Canceled:          codes.Canceled,
	sdk.Unauthenticated:   codes.Unauthenticated,
	sdk.PermissionDenied:  codes.PermissionDenied,
	sdk.BadUpstream:       codes.DataLoss,
	sdk.Unsupported:       codes.Unimplemented,
	sdk.Conflict:          codes.Aborted,
	sdk.ResourceExhausted: codes.ResourceExhausted,
}

// kindOf is the kind of a status that came without a Failure: from gRPC itself, or from an island in another language.
var kindOf = map[codes.Code]sdk.Kind{
	codes.InvalidArgument:    sdk.InvalidArgument,
	codes.NotFound:           sdk.NotFound,
	codes.ResourceExhausted:  sdk.ResourceExhausted,
	codes.Unavailable:        sdk.Unavailable,
	codes.DeadlineExceeded:   sdk.DeadlineExceeded,
	codes.Canceled:           sdk.Canceled,
	codes.Unauthenticated:    sdk.Unauthenticated,
	codes.PermissionDenied:   sdk.PermissionDenied,
	codes.DataLoss:           sdk.BadUpstream,
	codes.Unimplemented:      sdk.Unsupported,
	codes.Aborted:            sdk.Conflict,
	codes.FailedPrecondition: sdk.Internal,
	codes.OutOfRange:         sdk.InvalidArgument,
}

// maxMessage bounds the text of a failure on the wire: gRPC carries it in a header, and headers are bounded.
const maxMessage = 1024

// errorToWire turns an island's error into a status that keeps its kind.
func errorToWire(err error) error {
	if err == nil {
		return nil
	}
	message := err.Error()
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	failure := &pb.Failure{
		Kind: pb.Kind(sdk.KindOf(err)) + 1, Message: strings.ToValidUTF8(message, "\uFFFD"),
		RetryAfter: durationToWire(sdk.RetryAfter(err)),
	}
	var e *sdk.Error
	if errors.As(err, &e) {
		failure.Setting = e.Setting
	}
	code, known := codeOf[sdk.KindOf(err)]
	if !known {
		code = codes.Unknown // The zero code would say that all is well.
	}
	st := status.New(code, failure.GetMessage())
	if detailed, err := st.WithDetails(failure); err == nil {
		st = detailed
	}
	return st.Err()
}

// errorFromWire turns a status back into the error it was. A nil error stays nil.
func errorFromWire(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, detail := range st.Details() {
		if f, ok := detail.(*pb.Failure); ok && f.GetKind() >= pb.Kind_KIND_INTERNAL {
			out := &sdk.Error{Kind: sdk.Kind(f.GetKind() - 1), Message: f.GetMessage(), Setting: f.GetSetting()}
			if f.GetRetryAfter() != nil {
				out.RetryAfter = f.GetRetryAfter().AsDuration()
			}
			out.Err = contextCause(out.Kind)
			return out
		}
	}
	kind, ok := kindOf[st.Code()]
	if !ok {
		kind = sdk.Internal
	}
	return &sdk.Error{Kind: kind, Message: st.Message(), Err: contextCause(kind)}
}

// contextCause keeps errors.Is(err, context.Canceled) and its sibling true across the wire.
func contextCause(kind sdk.Kind) error {
	switch kind {
	case sdk.Canceled:
		return context.Canceled
	case sdk.DeadlineExceeded:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
