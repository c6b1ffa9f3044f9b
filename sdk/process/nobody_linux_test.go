package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user without any privilege.
const nobody = 65534

// asNobody are the tests that hold under any user, and say something else of one without privileges than of root.
var asNobody = []string{
	"TestLaunchedIslandAnswersAndStops", "TestWhatWasHashedIsWhatRuns", "TestAFrozenIslandTellsItsStacks", "TestAnIslandReachesNoOtherProcess",
	"TestAnIslandReachesItsOwnFilesAlone", "TestAnIslandRunsAsAUserOfItsOwn", "TestDescribeIsConfined", "TestNoIslandOutlivesItsHost",
	"TestAGrandchildDoesNotHideTheDeath",
}

// TestOfAUserWithoutPrivileges runs tests of this package once more, as nobody, when this is root.
func TestOfAUserWithoutPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		return // Then they run so anyway.
	}
	program := filepath.Join(passable(t), "process.test")
	content, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := runDir(t)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run", "^("+strings.Join(asNobody, "|")+")$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range asNobody {
		if !strings.Contains(string(out), "\n--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}
