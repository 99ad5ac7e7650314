# Nix flake: `nix run path:packaging`. NOT TESTED in this repository, whose tests have no Nix.
{
  description = "A terminal console for many MCP servers";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "switchboard-tui";
          version = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).package.version;
          src = pkgs.lib.cleanSource ../.;
          cargoLock.lockFile = ../Cargo.lock;
          buildType = "dist";
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # The tests need Node, Python and Redis; they run in CI.
          doCheck = false;
          env.SWITCHBOARD_COMMIT = self.shortRev or "dirty";
          postInstall = ''
            ln -s switchboard $out/bin/switchboard-tui
            $out/bin/switchboard man --dir man && installManPage man/*.1
            for shell in bash zsh fish; do
              $out/bin/switchboard completions $shell > switchboard.$shell
              installShellCompletion switchboard.$shell
            done
          '';
          meta = {
            description = "A terminal console for many MCP servers";
            license = with pkgs.lib.licenses; [ mit asl20 ];
            mainProgram = "switchboard";
          };
        };
      });
    };
}
