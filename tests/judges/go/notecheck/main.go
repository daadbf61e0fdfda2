// Notecheck opens a checkpoint with somebody else's implementation of the C2SP formats and prints what it says.
//
//	notecheck VKEY-FILE CHECKPOINT-FILE
//
// It prints {"origin":…,"size":…,"root":…} (root in hex) and exits 0 when golang.org/x/mod/sumdb/note accepts
// the signature by the given key, and transparency-dev/formats the text; else one line on stderr, exit 1.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
)

func check(vkeyFile, checkpointFile string) error {
	vkey, err := os.ReadFile(vkeyFile)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return fmt.Errorf("vkey: %w", err)
	}
	signed, err := os.ReadFile(checkpointFile)
	if err != nil {
		return err
	}
	if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	checkpoint, _, _, err := log.ParseCheckpoint(signed, verifier.Name(), verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"origin": checkpoint.Origin,
		"size":   checkpoint.Size,
		"root":   hex.EncodeToString(checkpoint.Hash),
	})
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: notecheck VKEY-FILE CHECKPOINT-FILE")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
