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
	"strconv"

	"go.opentelemetry.io/collector/pdata/plog"
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
		if err := out.Encode(understood(logs)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func understood(logs plog.Logs) []map[string]any {
	found := []map[string]any{}
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, log := range scope.LogRecords().All() {
				found = append(found, map[string]any{
					"resource":   resource.Resource().Attributes().AsRaw(),
					"scope":      scope.Scope().Name(),
					"time":       strconv.FormatUint(uint64(log.Timestamp()), 10),
					"observed":   strconv.FormatUint(uint64(log.ObservedTimestamp()), 10),
					"severity":   int(log.SeverityNumber()),
					"text":       log.SeverityText(),
					"body":       log.Body().AsString(),
					"event":      log.EventName(),
					"trace":      log.TraceID().String(),
					"span":       log.SpanID().String(),
					"attributes": log.Attributes().AsRaw(),
				})
			}
		}
	}
	return found
}
