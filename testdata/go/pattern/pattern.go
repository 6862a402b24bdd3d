// Package pattern is bytes of any number that two programs can agree on without sending
// them: no two blocks of it are alike, so that what is lost, doubled or swapped shows.
package pattern

import (
	"encoding/binary"
	"io"
)

// What each word is multiplied by, to have all of its bytes change from word to word.
const spread = 0x9e3779b97f4a7c15

// Reader gives the first size bytes of the pattern.
func Reader(size int64) io.Reader {
	return io.LimitReader(&reader{}, size)
}

type reader struct {
	position uint64
}

func (r *reader) Read(p []byte) (int, error) {
	for i := 0; i < len(p); {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], (r.position/8+1)*spread)
		n := copy(p[i:], word[r.position%8:])
		i += n
		r.position += uint64(n)
	}
	return len(p), nil
}
