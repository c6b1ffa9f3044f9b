package process

import (
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// TestPythonStubsAreOfThisContract compares the stubs that the example in Python has with the contract: who changes it has to
// generate them anew, as examples/python-source/generate does.
func TestPythonStubsAreOfThisContract(t *testing.T) {
	const script = "from islands.v1 import islands_pb2; print(islands_pb2.DESCRIPTOR.serialized_pb.hex())"
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "-c", script)
	cmd.Dir = "../../examples/python-source/app"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v; make test-deps installs what it needs", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(pb.File_islands_v1_islands_proto)
	withoutJSON(want.GetMessageType())
	withoutJSON(got.GetMessageType())
	if !proto.Equal(&got, want) {
		t.Error("examples/python-source/app has the stubs of another contract: run examples/python-source/generate")
	}
}

// withoutJSON takes out the names in JSON, which follow from the others, and which compilers leave out or not.
func withoutJSON(messages []*descriptorpb.DescriptorProto) {
	for _, message := range messages {
		for _, field := range message.GetField() {
			field.JsonName = nil
		}
		withoutJSON(message.GetNestedType())
	}
}
