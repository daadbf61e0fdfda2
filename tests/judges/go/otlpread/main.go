// Otlpread reads lines of OTLP/JSON with the Collector's own decoder, which its otlpjsonfile receiver uses, too.
//
//	otlpread <RECORDS
//
// It prints a line of JSON for each line: an array of the log records that it understood,
// {"resource":{…},"scope":…,"time":…,"observed":…,"severity":…,"text":…,"body":…,"event":…,"trace":…,"span":…,
// "attributes":{…}}, times in nanoseconds as text, ids in hex. It exits 1 at the first line that it cannot read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/pdata/plog"

	"indelible/judges/understood"
)

// maxLine is more than any record has.
const maxLine = 2 << 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	out := json.NewEncoder(os.Stdout)
	decoder := &plog.JSONUnmarshaler{}
	for number := 1; lines.Scan(); number++ {
		logs, err := decoder.UnmarshalLogs(lines.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := out.Encode(understood.Records(logs)); err != nil {
			return err
		}
	}
	return lines.Err()
}
