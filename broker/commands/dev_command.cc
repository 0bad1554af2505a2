#include <errno.h>
#include <fmt/format.h>

#include <filesystem>

#include "broker/commands/commands.h"
#include "broker/commands/run.h"

namespace millrace::broker {
namespace {

constexpr std::string_view kDefaultPort = "9092";
constexpr std::string_view kDefaultHttpPort = "9308";
constexpr std::string_view kDefaultDirectory = "millrace-data";

std::optional<std::string> check_port(const std::string& text) {
  const bool digits =
      !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == std::string::npos;
  if (digits && std::stoi(text) <= 65535) return std::nullopt;
  return "must be a port, 0 to 65535 (0 picks a free one)";
}

void greet(const Server& server, tools::Console& console) {
  const bool colour = console.colour_out;
  const std::string broker = server.address() == fmt::format("127.0.0.1:{}", kDefaultPort)
                                 ? ""
                                 : fmt::format(" -b {}", server.address());
  std::string text = tools::styled("Millrace is ready.\n", tools::Style::kBold, colour);
  text += fmt::format("  broker   {}\n  data     {}\n", server.address(), server.data_directory());
  if (server.http_port() != 0)
    text += fmt::format("  metrics  http://127.0.0.1:{}/metrics\n", server.http_port());
  text += fmt::format(
      "\nTry, in another terminal:\n"
      "  echo 'hello' | {0} produce greetings{1}\n"
      "  {0} consume greetings -o start{1}\n"
      "\nCtrl-C stops it; the data stays.\n",
      program_invocation_name, broker);
  console.write(text);
  std::fflush(console.out);
}

}  // namespace

tools::Command dev_command() {
  return {.path = "dev",
          .summary = "Run a broker without any configuration, on this machine only",
          .details = "It listens on 127.0.0.1, keeps its data in --data-dir, and stops with Ctrl-C.",
          .options = {{.names = "-p,--port",
                       .value = "N",
                       .help = "Port for clients; 0 picks a free one",
                       .fallback = std::string(kDefaultPort),
                       .check = check_port},
                      {.names = "--http-port",
                       .value = "N",
                       .help = "Port for /metrics, /livez, /readyz; 0 picks a free one",
                       .fallback = std::string(kDefaultHttpPort),
                       .check = check_port},
                      {.names = "-d,--data-dir",
                       .value = "DIR",
                       .help = "Where the records are kept",
                       .fallback = std::string(kDefaultDirectory),
                       .completion = tools::Completion::kFile}},
          .run = [](const tools::Arguments& arguments, tools::Console& console) {
            const ConfigSources sources = {
                .sets = {fmt::format("listeners=PLAINTEXT://127.0.0.1:{}", arguments.text("port")),
                         fmt::format("http.listener=127.0.0.1:{}", arguments.text("http-port")),
                         fmt::format("log.dirs={}",
                                     std::filesystem::absolute(arguments.text("data-dir")).string()),
                         // Who tries things out starts one consumer at a time and wants its records now.
                         "group.initial.rebalance.delay.ms=0"}};
            return run_broker("dev", sources, {.port_hint = "--port N", .http_port_hint = "--http-port N"},
                              console, [&console](const Server& server) { greet(server, console); });
          }};
}

}  // namespace millrace::broker
