// A client of `indelible record` with nothing but Go's own library: docs/reference/protocol.md.
//
//	client, err := Connect("/run/indelible/record.sock", "jobs")
//	id, err := client.Record(Event{"event_type": "mcp_operation", …}) // it is on its way
//	err = client.Close()                                             // everything is in the trail now
//
// Events go out at once, a window of them ahead of what was acknowledged; when the service is gone, they wait, and are
// sent again when it is back. One goroutine at a time may use a client.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	version    = 1
	firstPause = 20 * time.Millisecond
	longPause  = time.Second
	patience   = 30 * time.Second
)

// Event is an event as docs/reference/event.md has it.
type Event map[string]any

// Refusal is an event that the service did not take, and why.
type Refusal struct {
	Event Event
	Why   string
}

// ErrRefused is returned when the service does not let this client in.
var ErrRefused = errors.New("refused")

type letter struct {
	event  Event
	id     string
	number int
	again  bool
	deaths int
	since  int // how many lines the trail had at least when it was sent first; 0 when nobody has said
}

type hello struct {
	T        string `json:"t"`
	V        int    `json:"v"`
	Recorder string `json:"recorder"`
	Pid      int    `json:"pid"`
}

type put struct {
	T      string `json:"t"`
	N      int    `json:"n"`
	ID     string `json:"id"`
	Body   Event  `json:"body"`
	Again  bool   `json:"again,omitempty"`
	Deaths int    `json:"deaths,omitempty"`
	Since  int    `json:"since,omitempty"`
}

type answer struct {
	T      string `json:"t"`
	N      int    `json:"n"`
	Error  string `json:"error"`
	Window int    `json:"window"`
	Life   string `json:"life"`
	Size   int    `json:"size"`
}

// Client is a recorder.
type Client struct {
	Acknowledged int
	Refused      []Refusal

	path, recorder string
	letters        []*letter
	sent, number   int
	window, size   int
	life           string
	saidBye        bool
	conn           net.Conn
	in             *bufio.Reader
	out            *bufio.Writer
}

// Connect waits until the service answers, for half a minute at the most.
func Connect(path, recorder string) (*Client, error) {
	c := &Client{path: path, recorder: recorder}
	return c, c.reach()
}

// Record sends an event, filling in its id and time; it waits while too many are on their way.
func (c *Client) Record(event Event) (string, error) {
	id, ok := event["event_id"].(string)
	if !ok {
		id = newID()
		event["event_id"] = id
	}
	if _, ok := event["timestamp"]; !ok {
		event["timestamp"] = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	c.letters = append(c.letters, &letter{event: event, id: id})
	return id, c.goOn(c.window - 1)
}

// Flush waits until the service has answered for every event.
func (c *Client) Flush() error { return c.goOn(0) }

// Close flushes, and says good-bye.
func (c *Client) Close() error {
	if err := c.Flush(); err != nil {
		return err
	}
	if c.conn == nil {
		return nil
	}
	_ = c.say(map[string]string{"t": "bye"})
	_ = c.out.Flush()
	return c.conn.Close()
}

// goOn sends and hears until at most so many events are on their way.
func (c *Client) goOn(most int) error {
	for {
		if c.conn == nil {
			if err := c.reach(); err != nil {
				return err
			}
		}
		err := c.send()
		if err == nil {
			if len(c.letters) <= most {
				return nil
			}
			err = c.hear()
		}
		if err != nil {
			c.lose()
		}
	}
}

func (c *Client) send() error {
	for c.sent < min(len(c.letters), c.window) {
		next := c.letters[c.sent]
		if c.sent > 0 && (next.deaths > 0 || c.letters[c.sent-1].deaths > 0) {
			break // an event that was on its way when a service died goes alone
		}
		c.number++
		c.sent++
		next.number = c.number
		since := 0
		if next.again {
			since = next.since
		} else {
			next.since = c.size
		}
		if err := c.say(put{"put", next.number, next.id, next.event, next.again, next.deaths, since}); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

func (c *Client) hear() error {
	said, err := c.next()
	if err != nil {
		return err
	}
	switch said.T {
	case "ack":
		for c.sent > 0 && c.letters[0].number <= said.N {
			c.settle()
			c.Acknowledged++
		}
		c.size = max(c.size, said.Size)
	case "nack": // answers come in the order of the numbers: it is the first that is still unanswered
		c.Refused = append(c.Refused, Refusal{c.letters[0].event, said.Error})
		c.settle()
	case "bye":
		c.saidBye = true
		return io.EOF
	}
	return nil
}

func (c *Client) settle() {
	c.letters = c.letters[1:]
	c.sent--
}

func (c *Client) lose() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
}

// reach connects, says hello, and begins anew; it waits while nobody answers.
func (c *Client) reach() error {
	deadline, pause := time.Now().Add(patience), firstPause
	for {
		err := c.greet()
		if err == nil || errors.Is(err, ErrRefused) {
			return err
		}
		c.lose()
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: nobody answers: %w", c.path, err)
		}
		time.Sleep(pause/2 + time.Duration(mathrand.Int63n(int64(pause))))
		pause = min(longPause, 2*pause)
	}
}

func (c *Client) greet() error {
	conn, err := net.Dial("unix", c.path)
	if err != nil {
		return err
	}
	c.conn, c.in, c.out = conn, bufio.NewReader(conn), bufio.NewWriter(conn)
	if err := c.say(hello{"hello", version, c.recorder, 0}); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	said, err := c.next()
	if err != nil {
		return err
	}
	if said.T != "welcome" {
		return fmt.Errorf("%w: %s", ErrRefused, said.Error)
	}
	died := c.life != "" && !c.saidBye && c.life != said.Life
	for _, l := range c.letters[:c.sent] { // they may be in the trail or not: they are sent again, marked
		l.again = true
		if died {
			l.deaths++
		}
	}
	c.window, c.life, c.size, c.saidBye, c.number, c.sent = said.Window, said.Life, said.Size, false, 0, 0
	return nil
}

func (c *Client) say(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if err := binary.Write(c.out, binary.BigEndian, uint32(len(data))); err != nil {
		return err
	}
	_, err = c.out.Write(data)
	return err
}

func (c *Client) next() (answer, error) {
	var size uint32
	var said answer
	if err := binary.Read(c.in, binary.BigEndian, &size); err != nil {
		return said, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return said, err
	}
	return said, json.Unmarshal(data, &said)
}

// newID returns a random UUID, version 4 (RFC 9562, section 5.4).
func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// main: go run main.go SOCKET COUNT: record so many events; print what became of them.
func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, count string) error {
	most, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	client, err := Connect(path, "go-example")
	if err != nil {
		return err
	}
	for number := range most {
		_, err := client.Record(Event{
			"event_type": "mcp_operation",
			"source":     map[string]any{"caller": "library"},
			"target":     map[string]any{"type": "tool", "method": "tools/call", "capability_name": "example"},
			"request":    map[string]any{"args": map[string]any{"number": number, "to": "ada@example.com"}},
			"outcome":    map[string]any{"status": "success", "kind": "completed", "latency_ms": 1.5},
		})
		if err != nil {
			return err
		}
	}
	if err := client.Close(); err != nil {
		return err
	}
	fmt.Printf("acknowledged %d, refused %d\n", client.Acknowledged, len(client.Refused))
	return nil
}
