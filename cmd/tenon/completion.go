package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// completions are scripts that ask the program itself what comes next, by shell.
var completions = map[string]string{
	"bash": `_tenon() {
    local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ $cur == -* ]] && words+=("$cur")
    COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _tenon tenon
`,
	"zsh": `#compdef tenon
_tenon() {
    local -a words_so_far=("${words[@]:0:$((CURRENT-1))}") found
    [[ ${words[CURRENT]} == -* ]] && words_so_far+=("${words[CURRENT]}")
    found=("${(@f)$("${words_so_far[@]}" --generate-bash-completion 2>/dev/null)}")
    if [[ -n ${found[1]} ]]; then compadd -a found; else _files; fi
}
compdef _tenon tenon
`,
	"fish": `function __tenon_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    string match -q -- '-*' $cur; and set -a words $cur
    $words --generate-bash-completion 2>/dev/null
end
complete -c tenon -a '(__tenon_complete)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes commands, flags and names",
		ArgsUsage: "bash|zsh|fish",
		Description: "EXAMPLES:\n   source <(tenon completion bash)\n" +
			"   tenon completion zsh > \"${fpath[1]}/_tenon\"\n" +
			"   tenon completion fish > ~/.config/fish/completions/tenon.fish",
		BashComplete: func(c *cli.Context) { fmt.Fprintln(c.App.Writer, "bash\nzsh\nfish") },
		Action: func(c *cli.Context) error {
			script, known := completions[c.Args().First()]
			if !known {
				return misused(c, "%q is none of bash, zsh and fish", c.Args().First())
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// completionTime is how long somebody who pressed the tabulator waits for names.
const completionTime = time.Second

// completeVolumes lists the names of all volumes. Without an agent there are none.
func completeVolumes(c *cli.Context) {
	completeNames(c, func(ctx context.Context, print func(string)) {
		for v, err := range newClient(c).AllVolumes(ctx) {
			if err != nil {
				return
			}
			print(v.Name)
		}
	})
}

// completeTasks lists the ids of all tasks. Without an agent there are none.
func completeTasks(c *cli.Context) {
	completeNames(c, func(ctx context.Context, print func(string)) {
		for t, err := range newClient(c).AllTasks(ctx) {
			if err != nil {
				return
			}
			print(t.ID)
		}
	})
}

// completeOperations lists the ids of operations that were not acknowledged. Without an
// agent there are none.
func completeOperations(c *cli.Context) {
	completeNames(c, func(ctx context.Context, print func(string)) {
		for o, err := range newClient(c).AllOperations(ctx, false) {
			if err != nil {
				return
			}
			print(o.ID)
		}
	})
}

// completeNames lists flags where one has been begun, and names elsewhere. The word
// that was begun is the last but one; behind it stands the flag that asks for this.
func completeNames(c *cli.Context, names func(ctx context.Context, print func(string))) {
	if n := len(os.Args); n > 2 && strings.HasPrefix(os.Args[n-2], "-") {
		cli.DefaultCompleteWithFlags(c.Command)(c)
		return
	}
	ctx, cancel := context.WithTimeout(c.Context, completionTime)
	defer cancel()
	names(ctx, func(name string) { fmt.Fprintln(c.App.Writer, name) })
}
