// Proofcheck judges proofs and exported logs with somebody else's implementations: golang.org/x/mod's sumdb/note and
// sumdb/tlog, transparency-dev/formats, and transparency-dev/merkle, which is Tessera's.
//
//	proofcheck record VKEY-FILE (LINE-FILE PROOF-FILE)... each line, without its LF, against its proof, by both trees
//	proofcheck trees                                      consistency proofs as JSON on stdin, one a line
//	proofcheck log VKEY-FILE DIRECTORY [CHECKPOINT]       every tile and entry of a tlog-tiles log; CHECKPOINT is an older one
//
// Exit code 0 when all is well; else one line on stderr, exit 1.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/proof"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var out = json.NewEncoder(os.Stdout)

func verifier(file string) (note.Verifier, error) {
	vkey, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(strings.TrimSpace(string(vkey)))
}

// open returns the tree that a signed checkpoint is about.
func open(signed []byte, key note.Verifier) (tlog.Tree, error) {
	if _, err := note.Open(signed, note.VerifierList(key)); err != nil {
		return tlog.Tree{}, fmt.Errorf("note: %w", err)
	}
	checkpoint, _, _, err := log.ParseCheckpoint(signed, key.Name(), key)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w", err)
	}
	return tlog.Tree{N: int64(checkpoint.Size), Hash: tlog.Hash(checkpoint.Hash)}, nil
}

func record(vkeyFile, lineFile, proofFile string) error {
	key, err := verifier(vkeyFile)
	if err != nil {
		return err
	}
	line, err := os.ReadFile(lineFile)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	var parsed proof.TLogProof
	if err := parsed.Unmarshal(data); err != nil {
		return err
	}
	if !bytes.Equal(parsed.Marshal(), data) {
		return fmt.Errorf("%s: formatted anew it is another file", proofFile)
	}
	tree, err := open(parsed.Checkpoint, key)
	if err != nil {
		return err
	}
	hashes := make(tlog.RecordProof, 0, len(parsed.Hashes))
	for _, hash := range parsed.Hashes {
		hashes = append(hashes, tlog.Hash(hash))
	}
	entry := bytes.TrimSuffix(line, []byte("\n"))
	leaf := tlog.RecordHash(entry)
	if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, int64(parsed.Index), leaf); err != nil {
		return err
	}
	if err := included(parsed, tree, rfc6962.DefaultHasher.HashLeaf(entry)); err != nil {
		return fmt.Errorf("transparency-dev/merkle: %w", err)
	}
	return out.Encode(map[string]any{"index": parsed.Index, "size": tree.N})
}

// included checks the same proof as Tessera does.
func included(parsed proof.TLogProof, tree tlog.Tree, leaf []byte) error {
	path := make([][]byte, 0, len(parsed.Hashes))
	for _, hash := range parsed.Hashes {
		path = append(path, hash[:])
	}
	return merkle.VerifyInclusion(rfc6962.DefaultHasher, parsed.Index, uint64(tree.N), leaf, path, tree.Hash[:])
}

// trees answers each consistency proof on stdin with {"ok":…}.
func trees() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked struct {
			Size1, Size2 int64
			Root1, Root2 string
			Proof        []string
		}
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		hashes := make([]tlog.Hash, 0, len(asked.Proof)+2)
		for _, text := range append(asked.Proof, asked.Root1, asked.Root2) {
			raw, err := hex.DecodeString(text)
			if err != nil || len(raw) != tlog.HashSize {
				return fmt.Errorf("not a hash: %q", text)
			}
			hashes = append(hashes, tlog.Hash(raw))
		}
		n := len(asked.Proof)
		err := tlog.CheckTree(hashes[:n], asked.Size2, hashes[n+1], asked.Size1, hashes[n])
		if err := out.Encode(map[string]any{"ok": err == nil}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// tileFiles reads the tiles of C2SP tlog-tiles, whose paths lack sumdb's height.
type tileFiles string

func (dir tileFiles) Height() int                     { return 8 }
func (dir tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (dir tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// entries returns the leaf hashes of a bundle: entries with their length in 16 bits in front.
func entries(data []byte) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for len(data) > 0 {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("a bundle ends within an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		hashes = append(hashes, tlog.RecordHash(data[2:end]))
		data = data[end:]
	}
	return hashes, nil
}

func checkLog(vkeyFile, dir, older string) error {
	key, err := verifier(vkeyFile)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(signed, key)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tileFiles(dir)) // checks every tile that it reads against the tree's hash
	for first := int64(0); first < tree.N; first += 256 {
		width := min(256, tree.N-first)
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		leaves, err := entries(data)
		if err != nil {
			return err
		}
		indexes := make([]int64, 0, width)
		for n := first; n < first+width; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, n))
		}
		stored, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		if len(leaves) != len(stored) {
			return fmt.Errorf("%s: %d entries, expected %d", path, len(leaves), len(stored))
		}
		for i := range stored {
			if stored[i] != leaves[i] {
				return fmt.Errorf("entry %d is not the leaf", first+int64(i))
			}
		}
	}
	if older != "" {
		if err := extends(reader, tree, key, older); err != nil {
			return err
		}
	}
	return out.Encode(map[string]any{"entries": tree.N})
}

// extends checks that the log extends the tree of an older checkpoint, by a proof of sumdb's own making.
func extends(reader tlog.HashReader, tree tlog.Tree, key note.Verifier, older string) error {
	signed, err := os.ReadFile(older)
	if err != nil {
		return err
	}
	old, err := open(signed, key)
	if err != nil {
		return err
	}
	path, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, tree.N, tree.Hash, old.N, old.Hash)
}

func run(args []string) error {
	switch {
	case len(args) >= 4 && len(args)%2 == 0 && args[0] == "record":
		for i := 2; i < len(args); i += 2 {
			if err := record(args[1], args[i], args[i+1]); err != nil {
				return err
			}
		}
		return nil
	case len(args) == 1 && args[0] == "trees":
		return trees()
	case len(args) == 3 && args[0] == "log":
		return checkLog(args[1], args[2], "")
	case len(args) == 4 && args[0] == "log":
		return checkLog(args[1], args[2], args[3])
	}
	return fmt.Errorf("usage: proofcheck record VKEY (LINE PROOF)... | trees | log VKEY DIRECTORY [CHECKPOINT]")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
