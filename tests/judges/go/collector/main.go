// Collector is the OpenTelemetry Collector: its own service, its own OTLP receiver for HTTP and gRPC, and an exporter of
// ours that writes what arrived.
//
//	collector --config FILE
//
// The exporter `lines` ({path: FILE}) appends a line of JSON for each request, as `otlpread` prints them.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"

	"indelible/judges/understood"
)

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "0"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
				DefaultScheme:     "file",
			},
		},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}

func factories() (otelcol.Factories, error) {
	received, exported := otlpreceiver.NewFactory(), newFactory()
	return otelcol.Factories{
		Receivers: map[component.Type]receiver.Factory{received.Type(): received},
		Exporters: map[component.Type]exporter.Factory{exported.Type(): exported},
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}

type config struct {
	Path string `mapstructure:"path"`
}

func newFactory() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType("lines"),
		func() component.Config { return &config{} },
		exporter.WithLogs(newLines, component.StabilityLevelStable),
	)
}

// lines writes what it is given, a line a request.
type lines struct {
	component.StartFunc
	component.ShutdownFunc
	mutex sync.Mutex
	file  *os.File
}

func newLines(_ context.Context, _ exporter.Settings, made component.Config) (exporter.Logs, error) {
	file, err := os.OpenFile(made.(*config).Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return &lines{file: file}, err
}

// Capabilities is the Collector's question whether what it hands over is changed here.
func (l *lines) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs returns once the line is in the file: only then does the receiver answer.
func (l *lines) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	line, err := json.Marshal(understood.Records(logs))
	if err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, err = l.file.Write(append(line, '\n'))
	return err
}
