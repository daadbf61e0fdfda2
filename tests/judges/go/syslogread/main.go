// Syslogread reads RFC 5424 records with somebody else's parser and prints what it understood of each.
//
//	syslogread octet|lf <RECORDS
//
// Octet: RFC 6587 section 3.4.1, a length and a space before each record; lf: section 3.4.2, a LF behind it. It prints a
// line of JSON for each: {"pri":…,"time":…,"host":…,"app":…,"proc":…,"id":…,"data":{element:{name:value}},"message":…},
// or {"error":…} for what github.com/leodido/go-syslog/v4 refuses, MSG with a BOM that is not UTF-8 among it. It exits 0
// when it has read everything.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/nontransparent"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// maxRecord is far above what any receiver takes: a record is not refused for its length here.
const maxRecord = 16 << 20

type read struct {
	Error   string                        `json:"error,omitempty"`
	Pri     *uint8                        `json:"pri,omitempty"`
	Version uint16                        `json:"version,omitempty"`
	Time    string                        `json:"time,omitempty"`
	Host    *string                       `json:"host,omitempty"`
	App     *string                       `json:"app,omitempty"`
	Proc    *string                       `json:"proc,omitempty"`
	ID      *string                       `json:"id,omitempty"`
	Data    *map[string]map[string]string `json:"data,omitempty"`
	Message *string                       `json:"message,omitempty"`
}

func understood(result *syslog.Result) read {
	if result.Error != nil {
		return read{Error: result.Error.Error()}
	}
	message, ok := result.Message.(*rfc5424.SyslogMessage)
	if !ok || !message.Valid() {
		return read{Error: "not a valid message"}
	}
	found := read{
		Pri: message.Priority, Version: message.Version, Host: message.Hostname, App: message.Appname,
		Proc: message.ProcID, ID: message.MsgID, Data: message.StructuredData, Message: message.Message,
	}
	if message.Timestamp != nil {
		found.Time = message.Timestamp.UTC().Format(rfc5424.RFC3339MICRO)
	}
	return found
}

func main() {
	if len(os.Args) != 2 || (os.Args[1] != "octet" && os.Args[1] != "lf") {
		fmt.Fprintln(os.Stderr, "usage: syslogread octet|lf")
		os.Exit(2)
	}
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	options := []syslog.ParserOption{
		syslog.WithMachineOptions(rfc5424.WithCompliantMsg()),
		syslog.WithListener(func(result *syslog.Result) {
			if err := encoder.Encode(understood(result)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}),
		syslog.WithMaxMessageLength(maxRecord),
	}
	in := bufio.NewReader(os.Stdin)
	if os.Args[1] == "octet" {
		octetcounting.NewParser(options...).Parse(in)
	} else {
		nontransparent.NewParser(options...).Parse(in)
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
