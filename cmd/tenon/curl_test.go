package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// curl is as much of curl(1) as the examples of Mesos' pages need, so that scripts can have
// them as they stand. It always uses the socket of TENON_SOCKET, and fails where no answer
// comes.
func curl() {
	if err := runCurl(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "curl: "+err.Error())
		os.Exit(1)
	}
}

// curlRequest is what curl's command line asks for.
type curlRequest struct {
	method, url string
	header      http.Header
	data        []string
	include     bool // the status line is shown
}

func runCurl(args []string, out io.Writer) error {
	r, err := readCurl(args)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), r.method, r.url, strings.NewReader(strings.Join(r.data, "&")))
	if err != nil {
		return err
	}
	req.Header = r.header
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: dialAgent}}).Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if r.include {
		fmt.Fprintf(out, "%s %s\n", resp.Proto, resp.Status)
	}
	fmt.Fprintf(out, "%s\n", body)
	return err
}

func dialAgent(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv("TENON_SOCKET"))
}

// readCurl reads curl's command line: -i, -s, -u, -X, -H, -d, --data-urlencode and a URL.
func readCurl(args []string) (r curlRequest, err error) {
	r.header = http.Header{}
	take := func() (value string) {
		if len(args) > 0 {
			value, args = args[0], args[1:]
		}
		return value
	}
	for len(args) > 0 && err == nil {
		switch arg := take(); arg {
		case "-i":
			r.include = true
		case "-s":
		case "-u":
			r.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(take())))
		case "-X":
			r.method = take()
		case "-H":
			name, value, _ := strings.Cut(take(), ":")
			r.header.Set(name, strings.TrimSpace(value))
		case "-d", "--data-urlencode":
			var text string
			if text, err = curlData(take(), arg == "--data-urlencode"); err == nil {
				r.data = append(r.data, text)
			}
		default:
			if strings.HasPrefix(arg, "-") || r.url != "" {
				return r, fmt.Errorf("%q is not understood", arg)
			}
			r.url = arg
		}
	}
	if len(r.data) > 0 && r.method == "" {
		r.method = http.MethodPost
	}
	if len(r.data) > 0 && r.header.Get("Content-Type") == "" {
		r.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r, err
}

// curlData is what a piece of data stands for: @FILE, without its line ends; or as it is;
// encoded, what is behind NAME= or NAME@.
func curlData(text string, encode bool) (string, error) {
	if !encode {
		file, named := strings.CutPrefix(text, "@")
		if !named {
			return text, nil
		}
		data, err := os.ReadFile(file)
		return strings.NewReplacer("\n", "", "\r", "").Replace(string(data)), err
	}
	if name, file, named := strings.Cut(text, "@"); named && !strings.Contains(name, "=") {
		data, err := os.ReadFile(file)
		return name + "=" + url.QueryEscape(string(data)), err
	}
	name, value, _ := strings.Cut(text, "=")
	return name + "=" + url.QueryEscape(value), nil
}
