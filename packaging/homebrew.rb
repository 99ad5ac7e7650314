# Formula of a Homebrew tap. NOT TESTED in this repository: it needs macOS and a published release, whose address and checksums go here.
class SwitchboardTui < Formula
  desc "Terminal console for many MCP servers"
  homepage "https://example.com/switchboard"
  version "0.1.0"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "#{homepage}/releases/download/v#{version}/switchboard-tui-#{version}-aarch64-apple-darwin.tar.gz"
      sha256 "0000000000000000000000000000000000000000000000000000000000000000"
    end
    on_intel do
      url "#{homepage}/releases/download/v#{version}/switchboard-tui-#{version}-x86_64-apple-darwin.tar.gz"
      sha256 "0000000000000000000000000000000000000000000000000000000000000000"
    end
  end
  on_linux do
    url "#{homepage}/releases/download/v#{version}/switchboard-tui-#{version}-x86_64-unknown-linux-musl.tar.gz"
    sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  end

  def install
    bin.install "switchboard"
    bin.install_symlink "switchboard" => "switchboard-tui"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"switchboard", "completions")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/switchboard --version")
    assert_match "u_1001", shell_output("#{bin}/switchboard call --demo database_query_users limit:=1")
  end
end
