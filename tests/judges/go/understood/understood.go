// Package understood says what the Collector's own data model has of log records.
package understood

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/plog"
)

// Records returns an object for each log record, in order; times are in nanoseconds as text, ids in hex.
func Records(logs plog.Logs) []map[string]any {
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
