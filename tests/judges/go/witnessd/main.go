// Witnessd is a witness made of somebody else's parts: golang.org/x/mod opens the note, transparency-dev/merkle checks the
// consistency proof, transparency-dev/formats parses the checkpoint and makes the cosignature. What is left, here, is the
// order of the checks that C2SP tlog-witness asks for.
//
//	witnessd LOG-VKEY-FILE NAME
//
// It makes a key, listens on a free port of the loopback, keeps its state in memory, and prints one line of JSON when it
// is ready: {"url":…,"vkey":…}. It ends when its standard input does.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type witness struct {
	verifier note.Verifier
	signer   note.Signer
	mu       sync.Mutex
	latest   log.Checkpoint
}

// cosigner returns a signer of cosignature/v1 and its vkey, of signature type 0x04 (C2SP tlog-cosignature, "Format").
func cosigner(name string) (note.Signer, string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, "", err
	}
	signer, err := f_note.NewSignerForCosignatureV1(skey)
	if err != nil {
		return nil, "", err
	}
	vkey, err = f_note.VKeyToCosignatureV1(vkey)
	return signer, vkey, err
}

// parse cuts a request into old size, proof and checkpoint.
func parse(body []byte) (uint64, [][]byte, []byte, error) {
	head, signed, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return 0, nil, nil, fmt.Errorf("no empty line")
	}
	lines := strings.Split(string(head), "\n")
	number, found := strings.CutPrefix(lines[0], "old ")
	if !found {
		return 0, nil, nil, fmt.Errorf("no old size")
	}
	old, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, nil, nil, err
	}
	var hashes [][]byte
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return 0, nil, nil, err
		}
		hashes = append(hashes, hash)
	}
	return old, hashes, signed, nil
}

// answer returns what the specification asks for: status, content type and body.
func (w *witness) answer(body []byte) (int, string, []byte) {
	old, hashes, signed, err := parse(body)
	if err != nil {
		return http.StatusBadRequest, "", nil
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	if origin != w.verifier.Name() {
		return http.StatusNotFound, "", nil
	}
	checkpoint, _, opened, err := log.ParseCheckpoint(signed, origin, w.verifier)
	if err != nil {
		return http.StatusForbidden, "", nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old > checkpoint.Size {
		return http.StatusBadRequest, "", nil
	}
	if old != w.latest.Size {
		return http.StatusConflict, "text/x.tlog.size", fmt.Appendf(nil, "%d\n", w.latest.Size)
	}
	if old == 0 && len(hashes) > 0 {
		return http.StatusUnprocessableEntity, "", nil
	}
	if old > 0 {
		err := proof.VerifyConsistency(rfc6962.DefaultHasher, old, checkpoint.Size, hashes, w.latest.Hash, checkpoint.Hash)
		if err != nil {
			return http.StatusUnprocessableEntity, "", nil
		}
	}
	cosigned, err := note.Sign(&note.Note{Text: opened.Text}, w.signer)
	if err != nil {
		return http.StatusInternalServerError, "", nil
	}
	w.latest = *checkpoint
	_, lines, _ := bytes.Cut(cosigned, []byte("\n\n"))
	return http.StatusOK, "", lines
}

func (w *witness) serve(out http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, request.Body, 16<<10))
	if err != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	status, kind, data := w.answer(body)
	if kind != "" {
		out.Header().Set("Content-Type", kind)
	}
	out.WriteHeader(status)
	_, _ = out.Write(data)
}

func run(vkeyFile, name string) error {
	text, err := os.ReadFile(vkeyFile)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	signer, vkey, err := cosigner(name)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w := &witness{verifier: verifier, signer: signer}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.serve)
	go func() { _ = http.Serve(listener, mux) }()
	ready := map[string]string{"url": "http://" + listener.Addr().String(), "vkey": vkey}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: witnessd LOG-VKEY-FILE NAME")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
