// Trouble is an island that does what no island should, as the test that started it says. It is a source of everything, so that
// all roads of the host lead to it.
//
// TROUBLE in its environment is the address of the test: GET /begin says how to start, GET /next waits for what to do next, and
// POST /tell takes what is to be told.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func main() {
	manifest := sdk.Manifest{
		Name: "trouble", Version: "6.6.6", Layer: sdk.LayerExternalServices, Description: "Does what no island should.",
		Settings: sdk.SettingsOf(settings{}),
	}
	if len(os.Args) > 1 && os.Args[1] == "hold" {
		time.Sleep(time.Hour) // The grandchild, which holds what it inherited.
		return
	}
	if len(os.Args) == 1 {
		start(ask("begin"), &manifest)
		go obey()
	}
	process.Serve(manifest, &island{})
}

// start misbehaves before there is an island, or lies about what it is.
func start(how string, manifest *sdk.Manifest) {
	switch how {
	case "":
	case "mute":
		select {}
	case "babble":
		fmt.Println("Hello! I am an island, too.")
		time.Sleep(time.Hour)
	case "binary":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte{0, 0xff, '|', '\n'}, 1<<16))
		time.Sleep(time.Hour)
	case "old protocol":
		fmt.Println("1|0|unix|/nonexistent|grpc|")
		time.Sleep(time.Hour)
	case "elsewhere": // A socket that is not the island's own.
		fmt.Println("1|1|unix|/run/systemd/notify|grpc|")
		time.Sleep(time.Hour)
	case "exit":
		fmt.Fprintln(os.Stderr, "out of order")
		os.Exit(3)
	case "leaks at once":
		behaviour.Store(&how)
	case "another name":
		manifest.Name = "cache"
	case "another layer":
		manifest.Layer = sdk.LayerInfrastructure
	case "another role":
		process.Serve(*manifest, &plain{})
	case "shout":
		shout()
	default:
		tell("unknown start " + how)
		os.Exit(4)
	}
}

// obey does what the test says, one thing after the other, for as long as the process lives.
func obey() {
	for {
		order := ask("next")
		if where, ok := strings.CutPrefix(order, "spy "); ok {
			data, socket, _ := strings.Cut(where, " ")
			tell(spy(data, socket))
			continue
		}
		switch order {
		case "":
			time.Sleep(100 * time.Millisecond) // The test is over, and soon the process.
		case "shout":
			shout()
			tell("shouted")
		case "speak": // In every way that an author may.
			fmt.Println("printed to stdout")
			fmt.Fprintln(os.Stderr, "printed to stderr")
			log.Print("logged by package log")
			slog.Warn("logged by slog's default")
			if logger := logger.Load(); logger != nil {
				logger.Warn("logged by the logger of the SDK", "attempt", 3)
			}
			tell("spoken")
		case "levels":
			for _, line := range []string{
				`{"@level":3}`, `{"@level":{},"@message":[1]}`, `{"level":7,"msg":null}`, `{"level":"INFO","msg":3}`, `{`, "\x00\xff\xfe", `null`, `[]`,
				`{"level":"ERROR","msg":"` + strings.Repeat("x", 1<<20) + `"}`,
			} {
				fmt.Fprintln(os.Stderr, line)
			}
			tell("said")
		case "grandchild": // Of the same group, and away.
			breed(false)
			os.Exit(5)
		case "child": // Of the same group, with the island staying.
			breed(false)
		case "runaway": // In a session of its own, and away.
			breed(true)
			os.Exit(5)
		case "panic over a secret":
			panic(leak())
		case "panic":
			panic("a panic of its own")
		case "bomb":
			bomb()
		default:
			behaviour.Store(&order)
			tell("is " + order)
		}
	}
}

// shout writes 100 MB to each of the outputs.
func shout() {
	line := []byte(strings.Repeat("trouble ", 1<<10) + "\n")
	for range 100 << 20 / len(line) {
		_, _ = os.Stdout.Write(line)
		_, _ = os.Stderr.Write(line)
	}
}

// breed starts a process that holds the outputs, and tells its number.
func breed(away bool) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		tell(err.Error())
		return
	}
	cmd := exec.Command("/proc/self/fd/3", "hold")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: away}
	if err := cmd.Start(); err != nil {
		tell(err.Error())
		return
	}
	tell(fmt.Sprint(cmd.Process.Pid))
}

// bomb takes 2 GB at most, so that it harms the machine as little as it can.
func bomb() {
	var held [][]byte
	for range 2048 {
		piece := make([]byte, 1<<20)
		for i := 0; i < len(piece); i += 4096 {
			piece[i] = 1
		}
		held = append(held, piece)
	}
	tell(fmt.Sprintf("has %d MiB", len(held)))
}

// client waits for orders as long as it takes.
var client = &http.Client{}

// ask returns what the test answers, nothing when it does not.
func ask(what string) string {
	resp, err := client.Get(os.Getenv("TROUBLE") + "/" + what)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}

func tell(text string) {
	resp, err := client.Post(os.Getenv("TROUBLE")+"/tell", "text/plain", strings.NewReader(text))
	if err == nil {
		_ = resp.Body.Close()
	}
}
