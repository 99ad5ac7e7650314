# Values that only the program knows: servers, tools, prompts, resources, workflows, runs and engines.
_switchboard_values() {
    local value about
    local -a found=()
    while IFS=$'\t' read -r value about; do
        [[ -n "$value" ]] && found+=("$value")
    done < <("${COMP_WORDS[0]}" __complete "$COMP_CWORD" -- "${COMP_WORDS[@]}" 2>/dev/null)
    if (( ${#found[@]} )); then
        COMPREPLY=("${found[@]}")
        # A name of an argument is followed by its value.
        [[ ${#found[@]} -eq 1 && "${found[0]}" == *= ]] && compopt -o nospace 2>/dev/null
        return 0
    fi
    _switchboard "$@"
}
complete -F _switchboard_values -o bashdefault -o default switchboard
