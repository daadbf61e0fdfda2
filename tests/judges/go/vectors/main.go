// Vectors prints Merkle test vectors by the published reference implementation, one JSON object a line.
//
// The trees are github.com/transparency-dev/merkle's: its published leaves and roots (testonly), then larger ones.
// Every true proof comes with the corruptions that the module's own tests make of it (proof/verify_test.go), and
// `ok` is the verdict of the reference on each, so that nothing here is our own opinion.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
)

var (
	hasher = rfc6962.DefaultHasher
	other  = hasher.HashLeaf([]byte("somewhere else"))
	out    = bufio.NewWriter(os.Stdout)
	lines  = json.NewEncoder(out)
)

func emit(vector map[string]any) {
	if err := lines.Encode(vector); err != nil {
		panic(err)
	}
}

func hexes(hashes [][]byte) []string {
	texts := make([]string, 0, len(hashes))
	for _, hash := range hashes {
		texts = append(texts, hex.EncodeToString(hash))
	}
	return texts
}

func inclusion(index, size uint64, leaf []byte, path [][]byte, root []byte, desc string) {
	emit(map[string]any{
		"kind": "inclusion", "desc": desc, "index": index, "size": size,
		"leaf": hex.EncodeToString(leaf), "proof": hexes(path), "root": hex.EncodeToString(root),
		"ok": proof.VerifyInclusion(hasher, index, size, leaf, path, root) == nil,
	})
}

func consistency(size1, size2 uint64, path [][]byte, root1, root2 []byte, desc string) {
	emit(map[string]any{
		"kind": "consistency", "desc": desc, "size1": size1, "size2": size2,
		"proof": hexes(path), "root1": hex.EncodeToString(root1), "root2": hex.EncodeToString(root2),
		"ok": proof.VerifyConsistency(hasher, size1, size2, path, root1, root2) == nil,
	})
}

type corrupted struct {
	path [][]byte
	desc string
}

// corruptions returns damaged copies of a proof: garbage at either end, a hash lost, put in, or changed in one bit.
func corruptions(path [][]byte, extra ...[]byte) []corrupted {
	var all []corrupted
	for i, hash := range append([][]byte{{}}, extra...) {
		all = append(all,
			corrupted{join(path, [][]byte{hash}), fmt.Sprintf("trailing %d", i)},
			corrupted{join([][]byte{hash}, path), fmt.Sprintf("preceding %d", i)})
	}
	for i := range path {
		flipped := join(path)
		flipped[i] = bytes.Clone(path[i])
		flipped[i][0] ^= 8
		all = append(all, corrupted{flipped, fmt.Sprintf("bit flipped in %d", i)})
	}
	if n := len(path); n > 0 {
		all = append(all,
			corrupted{nil, "empty"},
			corrupted{path[:n-1], "truncated"},
			corrupted{join(path[:1], path), "first twice"},
			corrupted{join(path[:1], [][]byte{other}, path[1:]), "inserted"})
	}
	return all
}

// join returns a new slice of all the hashes of `parts`.
func join(parts ...[][]byte) [][]byte {
	var joined [][]byte
	for _, part := range parts {
		joined = append(joined, part...)
	}
	return joined
}

func allInclusion(tree *testonly.Tree, index, size uint64) {
	path, err := tree.InclusionProof(index, size)
	if err != nil {
		panic(err)
	}
	leaf, root := tree.LeafHash(index), tree.HashAt(size)
	inclusion(index, size, leaf, path, root, "true")
	inclusion(index+1, size, leaf, path, root, "index + 1")
	inclusion(index^2, size, leaf, path, root, "index ^ 2")
	inclusion(index, size*2, leaf, path, root, "size * 2")
	inclusion(index, size/2, leaf, path, root, "size / 2")
	inclusion(index, size, other, path, root, "another leaf")
	inclusion(index, size, leaf, path, other, "another root")
	inclusion(index, size, leaf, path, hasher.EmptyRoot(), "the empty root")
	for _, bad := range corruptions(path, root) {
		inclusion(index, size, leaf, bad.path, root, bad.desc)
	}
}

func allConsistency(tree *testonly.Tree, size1, size2 uint64) {
	path, err := tree.ConsistencyProof(size1, size2)
	if err != nil {
		panic(err)
	}
	root1, root2 := tree.HashAt(size1), tree.HashAt(size2)
	consistency(size1, size2, path, root1, root2, "true")
	if size1 == 0 { // the reference does not look at the roots here
		return
	}
	consistency(size1+1, size2, path, root1, root2, "size1 + 1")
	if size1 != 2 {
		consistency(size1^2, size2, path, root1, root2, "size1 ^ 2")
	}
	consistency(size1, size2*2, path, root1, root2, "size2 * 2")
	consistency(size1, size2/2, path, root1, root2, "size2 / 2")
	consistency(size1, size2, path, other, root2, "another root1")
	consistency(size1, size2, path, root1, other, "another root2")
	consistency(size1, size2, path, root2, root1, "swapped roots")
	for _, bad := range corruptions(path, root1, root2) {
		consistency(size1, size2, bad.path, root1, root2, bad.desc)
	}
}

func main() {
	published := testonly.New(hasher)
	for i, data := range testonly.LeafInputs() {
		published.AppendData(data)
		emit(map[string]any{
			"kind": "leaf", "data": hex.EncodeToString(data), "hash": hex.EncodeToString(testonly.NodeHashes()[0][i]),
		})
	}
	for size, root := range testonly.RootHashes() {
		emit(map[string]any{"kind": "root", "published": true, "size": size, "root": hex.EncodeToString(root)})
	}
	large := testonly.New(hasher)
	for i := range 70_000 {
		large.AppendData(fmt.Append(nil, i))
	}
	for _, size := range []uint64{1, 2, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 70_000} {
		emit(map[string]any{
			"kind": "root", "published": false, "size": size, "root": hex.EncodeToString(large.HashAt(size)),
		})
		for _, index := range []uint64{0, 1, size / 3, size / 2, size - 1} {
			if index < size {
				allInclusion(large, index, size)
				allConsistency(large, index, size)
			}
		}
	}
	for size := range published.Size() + 1 {
		for before := range size {
			allInclusion(published, before, size)
			allConsistency(published, before, size)
		}
		allConsistency(published, size, size)
	}
	if err := out.Flush(); err != nil {
		panic(err)
	}
}
