# Values that only the program knows: servers, tools, prompts, resources, workflows, runs and engines.
function __switchboard_values
    set -l words (commandline -opc)
    $words[1] __complete (count $words) -- $words (commandline -ct) 2>/dev/null
end
complete -c switchboard -k -a '(__switchboard_values)'
