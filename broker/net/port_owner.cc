#include "broker/net/port_owner.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

namespace millrace::net {
namespace {

namespace fs = std::filesystem;

// Adds the socket inodes that listen on the port, from /proc/net/tcp or tcp6: lines of
// "slot local-address:port remote-address:port state ... inode", numbers in hex, state 0A is LISTEN.
void add_listeners(const char* table, uint16_t port, std::set<std::string>& inodes) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
    const size_t colon = local.rfind(':');
    if (state != "0A" || colon == std::string::npos) continue;
    unsigned local_port = 0;
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), local_port, 16);
    if (local_port == port) inodes.insert("socket:[" + inode + "]");
  }
}

bool holds_one_of(const fs::path& process, const std::set<std::string>& sockets) {
  std::error_code error;
  for (fs::directory_iterator fd(process / "fd", error), end; !error && fd != end; fd.increment(error)) {
    std::error_code gone;
    const fs::path target = fs::read_symlink(fd->path(), gone);
    if (!gone && sockets.contains(target.string())) return true;
  }
  return false;
}

std::string command_of(const fs::path& process) {
  constexpr size_t kMaxLength = 120;
  std::ifstream file(process / "cmdline", std::ios::binary);
  std::string command(std::istreambuf_iterator<char>(file), {});
  while (!command.empty() && command.back() == '\0') command.pop_back();
  for (char& c : command) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (command.size() > kMaxLength) command = command.substr(0, kMaxLength) + "...";
  return command;
}

}  // namespace

std::optional<PortOwner> find_port_owner(uint16_t port) {
  std::set<std::string> sockets;
  add_listeners("/proc/net/tcp", port, sockets);
  add_listeners("/proc/net/tcp6", port, sockets);
  if (sockets.empty()) return std::nullopt;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
    if (holds_one_of(entry->path(), sockets)) return PortOwner{pid, command_of(entry->path())};
  }
  return std::nullopt;
}

}  // namespace millrace::net
