# Values that only the program knows: servers, tools, prompts, resources, workflows, runs and engines.
_switchboard() {
    local line
    local -a found arguments
    for line in "${(@f)$("${words[1]}" __complete $((CURRENT - 1)) -- "${words[@]}" 2>/dev/null)}"; do
        [[ -z $line ]] && continue
        if [[ ${line%%$'\t'*} == *= ]]; then
            arguments+=("${line%%$'\t'*}")
        else
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    if (( $#arguments )); then
        compadd -S '' -a arguments
    elif (( $#found )); then
        _describe -V 'values' found
    else
        _switchboard_static "$@"
    fi
}
