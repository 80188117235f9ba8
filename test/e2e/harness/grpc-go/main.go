// Calls a gRPC service with grpc-go, as kubelet does, without generated code: messages are bytes.
//
// Standard input has a call a line, the method and the request in hexadecimal; all of them begin at once, on one
// connection. Standard output has an answer a line, in the same order.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Kubelet's bound of a message.
const maxMessageSize = 16 * 1024 * 1024

type answer struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
	Hex     string `json:"hex"`
}

type bytesCodec struct{}

func (bytesCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

func main() {
	socket := flag.String("socket", "", "path of a unix socket")
	timeout := flag.Duration("timeout", time.Minute, "deadline of each call")
	flag.Parse()
	connection, err := grpc.Dial("passthrough:///"+*socket,
		grpc.WithInsecure(),
		// What grpc-go says for unix sockets since 1.57; it said the path before.
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(maxMessageSize)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	calls := read()
	answers := make([]answer, len(calls))
	var running sync.WaitGroup
	for i, call := range calls {
		running.Add(1)
		go func(i int, call []string) {
			defer running.Done()
			answers[i] = ask(connection, call, *timeout)
		}(i, call)
	}
	running.Wait()
	out := json.NewEncoder(os.Stdout)
	for _, one := range answers {
		if err := out.Encode(one); err != nil {
			os.Exit(1)
		}
	}
}

func read() [][]string {
	var calls [][]string
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4*maxMessageSize)
	for lines.Scan() {
		calls = append(calls, strings.SplitN(lines.Text()+" ", " ", 2))
	}
	return calls
}

func ask(connection *grpc.ClientConn, call []string, timeout time.Duration) answer {
	request, err := hex.DecodeString(strings.TrimSpace(call[1]))
	if err != nil {
		return answer{Message: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var reply []byte
	err = connection.Invoke(ctx, call[0], &request, &reply)
	said, _ := status.FromError(err)
	return answer{Code: uint32(said.Code()), Message: said.Message(), Hex: hex.EncodeToString(reply)}
}
