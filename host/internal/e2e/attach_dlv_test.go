package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// delve is a client of a Delve that listens, in the words of its JSON-RPC.
type delve struct{ *rpc.Client }

// delveState is what Delve tells of a program that does not run.
type delveState struct {
	State struct {
		CurrentThread *struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"currentThread"`
	}
}

func connectDelve(t *testing.T, address string) *delve {
	t.Helper()
	client, err := jsonrpc.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &delve{client}
}

// do calls Delve and waits for the answer.
func (d *delve) do(t *testing.T, method string, args, answer any) {
	t.Helper()
	d.wait(t, d.Go("RPCServer."+method, args, answer, make(chan *rpc.Call, 1)))
}

// wait waits for the answer to a call.
func (d *delve) wait(t *testing.T, call *rpc.Call) {
	t.Helper()
	select {
	case <-call.Done:
		if call.Error != nil {
			t.Fatalf("%s: %v", call.ServiceMethod, call.Error)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%s: no answer", call.ServiceMethod)
	}
}

// goOn lets the program run; the call is answered when it stops.
func (d *delve) goOn(state *delveState) *rpc.Call {
	return d.Go("RPCServer.Command", map[string]any{"name": "continue"}, state, make(chan *rpc.Call, 1))
}

// halt stops the program where it is.
func (d *delve) halt(t *testing.T) {
	t.Helper()
	d.do(t, "Command", map[string]any{"name": "halt"}, &delveState{})
}

// program is the number of the process that Delve has started, which must not run.
func (d *delve) program(t *testing.T) int {
	t.Helper()
	var answer struct{ Pid int }
	d.do(t, "ProcessPid", struct{}{}, &answer)
	return answer.Pid
}

// TestAttachDelve does with a real debugger what a developer does: stops an island in a function, lets it go on, sees it die and be
// debugged anew, and leaves while it is held.
func TestAttachDelve(t *testing.T) {
	t.Parallel()
	dlv, err := filepath.Abs("../../../.tools/bin/dlv")
	if err == nil {
		_, err = os.Stat(dlv)
	}
	if err != nil {
		t.Fatalf("%v: make .tools/bin/dlv builds it", err)
	}
	binary := filepath.Join(t.TempDir(), "report-generator")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-gcflags", "-N -l", "-o", binary, "../../../plugins/report-generator")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": edited(t, func(text string) string {
		return strings.Replace(text, `"plugins/report-generator"`, `"`+binary+`"`+
			"\n  health {\n    interval = \"500ms\"\n    timeout = \"500ms\"\n    misses = 2\n  }", 1)
	})})
	a := launch(t, h.env, "islands", "attach", "report-generator", "--config", h.config(), "--",
		dlv, "exec", "--headless", "--accept-multiclient", "--continue", "--listen", "127.0.0.1:0")
	a.says(t, "report-generator runs under dlv: generation 2")
	d := connectDelve(t, address(t, a, 1))
	d.halt(t)
	debugger, program := h.pids(t)["report-generator"], d.program(t)
	if debugger == program || debugger == 0 || program == 0 {
		t.Fatalf("the debugger is process %d, its program %d", debugger, program)
	}

	breakpoint := map[string]any{"functionName": "main.(*generator).Report"}
	var made struct{ Breakpoint struct{ ID int } }
	d.do(t, "CreateBreakpoint", map[string]any{"Breakpoint": breakpoint}, &made)
	var state delveState
	stopped := d.goOn(&state)
	type answered struct {
		reply
		err error
	}
	report := make(chan answered, 1)
	go func() {
		r, err := ask(t.Context(), http.MethodGet, h.url+"/api/crypto-report/sol", nil)
		report <- answered{r, err}
	}()
	d.wait(t, stopped)
	if at := state.State.CurrentThread; at == nil || at.Function.Name != "main.(*generator).Report" {
		t.Fatalf("it stopped elsewhere: %+v", state)
	}
	time.Sleep(4 * time.Second) // Four times as long as an island may hang by that configuration.
	d.do(t, "ClearBreakpoint", map[string]any{"Id": made.Breakpoint.ID}, &struct{}{})
	running := d.goOn(&state)
	if r := <-report; r.err != nil || r.status != http.StatusOK {
		t.Errorf("the report that was held: %v, %d %s", r.err, r.status, r.body)
	}
	if now := h.pids(t)["report-generator"]; now != debugger || gone(program) == nil {
		t.Errorf("process %d became %d; its program: %v", debugger, now, gone(program))
	}

	// The program dies, and a debugger that takes several clients would wait for them.
	if err := syscall.Kill(program, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.says(t, "report-generator ended", "runs under a new dlv: generation 3")
	h.says(t, "debugger has lost its program", `"island":"report-generator"`)
	<-running.Done
	d = connectDelve(t, address(t, a, 2))
	if out := h.cli(t, "crash", "report-generator"); !strings.Contains(out, "ended under its debugger") {
		t.Errorf("%s", out)
	}
	h.ok(t, "/api/crypto-report/xrp")

	// It is left while it is held.
	d.halt(t)
	again := []int{h.pids(t)["report-generator"], d.program(t)}
	_ = a.cmd.Process.Signal(syscall.SIGINT)
	a.says(t, "runs without a debugger again: generation 4")
	<-a.done
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	h.ok(t, "/api/crypto-report/ada")
	for _, pid := range append(again, debugger, program) {
		eventually(t, 30*time.Second, fmt.Sprintf("the end of process %d", pid), func() error { return gone(pid) })
	}
	if how := h.appliedTo(t)["report-generator"]; !how.Sealed || !how.Confined {
		t.Errorf("%+v", how)
	}
}

// listening finds the address that Delve listens on.
var listening = regexp.MustCompile(`API server listening at: (\S+)`)

// address returns where the nth debugger listens.
func address(t *testing.T, a *program, nth int) string {
	t.Helper()
	var found string
	eventually(t, 30*time.Second, "the address of the debugger", func() error {
		all := listening.FindAllStringSubmatch(strings.Join(a.tail(100), "\n"), -1)
		if len(all) < nth {
			return errors.New("it was not said")
		}
		found = all[nth-1][1]
		return nil
	})
	return found
}
