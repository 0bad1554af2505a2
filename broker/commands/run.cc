#include "broker/commands/run.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <thread>

#include "broker/runtime/logging.h"
#include "broker/runtime/termination_signals.h"

namespace millrace::broker {
namespace {

// Every connection and every segment in use takes a descriptor; the soft limit of 1024 is a relic of
// select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Left to itself the allocator raises its threshold to the largest block it has seen freed, 32 MiB at most:
// one such request, and all later ones lie among small blocks, which keep their pages long after they are
// gone. Above what a client sends by its defaults, 1 MiB, a block is given back when it is freed.
void give_large_blocks_back() {
  constexpr int kLargeBlock = 2 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  mallopt(M_TRIM_THRESHOLD, 2 * kLargeBlock);
}

// By default the data is where a service's belongs; who starts a broker by hand may not write there.
std::string with_hint(const std::string& command, const std::string& message) {
  const bool refused = message.ends_with("the mode of the data directory");
  return command == "broker" && refused ? message + ", or name another: --set log.dirs=DIR" : message;
}

bool set_up_logging(const metadata::BrokerConfig& config) {
  runtime::LogLevel level;
  if (!runtime::parse_log_level(config.logging_level, level)) return false;
  runtime::set_up_logging(
      level, config.logging_format == "json" ? runtime::LogFormat::kJson : runtime::LogFormat::kText);
  return true;
}

}  // namespace

ConfigSources config_sources(const tools::Arguments& arguments) {
  return {
      .file = arguments.maybe("config"), .environment = process_environment(), .sets = arguments.all("set")};
}

int run_broker(const std::string& command, const ConfigSources& sources, ServerOptions options,
               tools::Console& console, const std::function<void(const Server&)>& ready) {
  LoadedConfig config = load_config(sources);
  for (const std::string& error : config.errors) console.complain(command, error);
  if (!config.errors.empty()) return tools::kExitFailed;
  runtime::TerminationSignals signals;
  // A client that goes away in the middle of a sendfile is an error of that call, no reason to die.
  ::signal(SIGPIPE, SIG_IGN);
  // Nor is a file that the process may not let grow any further.
  ::signal(SIGXFSZ, SIG_IGN);
  raise_descriptor_limit();
  give_large_blocks_back();
  if (!set_up_logging(metadata::broker_config(config.values))) {
    console.complain(command, "logging.level must be one of debug, info, warning, error, off");
    return tools::kExitFailed;
  }
  for (const std::string& warning : config.warnings) runtime::log_warning("{}", warning);
  options.config = std::move(config.values);
  // A start may recover for long; a signal meanwhile ends the process at once, which a crash-safe start may
  // be.
  std::optional<Result<std::unique_ptr<Server>>> server;
  std::atomic<bool> started = false;
  std::thread starter([&] {
    server = Server::start(std::move(options));
    if (*server) {
      runtime::log_info("Serving {}, data in {}", (**server)->address(), (**server)->data_directory());
      ready(***server);
    }
    started.store(true);
    if (!*server) signals.request();
  });
  const int signal = signals.wait();
  if (!started.load()) {
    runtime::log_info("Stopping on signal {}, before the start was complete", signal);
    std::_Exit(tools::kExitDone);
  }
  starter.join();
  if (!*server) {
    console.complain(command, with_hint(command, server->error().message));
    return tools::kExitFailed;
  }
  runtime::log_info("Stopping on signal {}", signal);
  (**server)->stop();
  runtime::log_info("Stopped");
  return tools::kExitDone;
}

}  // namespace millrace::broker
