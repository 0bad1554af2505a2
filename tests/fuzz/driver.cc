// Fuzzing without clang's libFuzzer: mutates inputs, keeps those that reach something new, and leaves the
// input behind when one kills the process. The same seed and number of runs do the same again.
//
//   NAME_fuzz [--seed N] [--runs N] [--seconds N] [--max-size BYTES] [--corpus DIR] [--crash-dir DIR]
//   [FILE...]
//
// With files: runs each once and stops (to see a finding again). --corpus: starts from the files there and
// adds what it finds. Without a limit it runs until it is interrupted.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/fuzz/coverage.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutator.h"

extern "C" {
// The sanitizers' runtime has these; other builds don't.
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());
// One allocation beyond this is a finding: no target gives limits anywhere near it.
const char* __asan_default_options() { return "max_allocation_size_mb=512:allocator_may_return_null=0"; }
const char* __ubsan_default_options() { return "print_stacktrace=1"; }
}

namespace millrace::fuzz {
namespace {

constexpr unsigned kHangSeconds = 60;
constexpr size_t kMaxCorpus = 10'000;

struct Options {
  uint64_t seed = 1;
  uint64_t runs = UINT64_MAX;
  uint64_t seconds = UINT64_MAX;
  size_t max_size = 4096;
  std::string corpus;
  std::string crash_dir = ".";
  std::vector<std::string> files;
};

// What the crash handlers need; they may only use what is safe in a signal handler.
Bytes current_input;
std::string crash_file;

void leave_input() {
  if (crash_file.empty()) return;
  const int file = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return;
  const bool written =
      write(file, current_input.data(), current_input.size()) == static_cast<ssize_t>(current_input.size());
  close(file);
  const char* text = written ? "\nThe input is in " : "\nNot all of the input is in ";
  for (const char* part : {text, crash_file.c_str(), "\n"}) {
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) return;
  }
}

void on_signal(int signal) {
  if (signal == SIGALRM) {
    constexpr char kText[] = "\nOne input took too long";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
  }
  leave_input();
  _exit(1);
}

void install_handlers(const Options& options, const std::string& name) {
  crash_file = fmt::format("{}/{}-crash-{}", options.crash_dir, name, getpid());
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(leave_input);
  } else {
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(signal, on_signal);
  }
  std::signal(SIGABRT, on_signal);
  std::signal(SIGALRM, on_signal);
}

// noexcept: an exception that gets out of a target ends in abort, where its input is saved.
void run(const Buffer& input) noexcept {
  current_input = input;
  alarm(kHangSeconds);
  // A copy of exactly this size, so that a read beyond the end is one for the sanitizer.
  std::vector<uint8_t> exact(input.size());
  if (!input.empty()) std::memcpy(exact.data(), input.data(), input.size());
  exact.shrink_to_fit();
  start_coverage();
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  alarm(0);
}

Buffer read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(fmt::format("cannot read {}", path.string()));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

class Fuzzer {
 public:
  explicit Fuzzer(const Options& options) : options_(options), mutator_(options.seed, options.max_size) {}

  void load_corpus() {
    for (auto& seed : seeds()) add(std::move(seed));
    if (!options_.corpus.empty()) {
      std::filesystem::create_directories(options_.corpus);
      std::vector<std::filesystem::path> paths;
      for (const auto& entry : std::filesystem::directory_iterator(options_.corpus))
        paths.push_back(entry.path());
      std::sort(paths.begin(), paths.end());
      for (const auto& path : paths) add(read_file(path));
    }
    if (corpus_.empty()) add({});
    loaded_ = corpus_.size();
  }

  void fuzz() {
    const auto start = std::chrono::steady_clock::now();
    auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    uint64_t next_report = 1 << 14;
    while (runs_ < options_.runs && seconds() < static_cast<double>(options_.seconds)) {
      Buffer input = corpus_[mutator_.below(corpus_.size())];
      mutator_.mutate(input, corpus_[mutator_.below(corpus_.size())]);
      fuzz::run(input);
      ++runs_;
      if (merge_coverage() && corpus_.size() < kMaxCorpus) keep(std::move(input));
      if (runs_ == next_report && runs_ != options_.runs) {
        report(seconds());
        next_report *= 2;
      }
    }
    report(seconds());
  }

 private:
  void add(Buffer input) {
    fuzz::run(input);
    ++runs_;
    merge_coverage();
    corpus_.push_back(std::move(input));
  }

  void keep(Buffer input) {
    if (!options_.corpus.empty()) {
      const auto name =
          fmt::format("{}/{:016x}", options_.corpus, std::hash<std::string_view>()(as_text(input)));
      std::ofstream(name, std::ios::binary)
          .write(as_text(input).data(), static_cast<std::streamsize>(input.size()));
    }
    corpus_.push_back(std::move(input));
  }

  void report(double seconds) const {
    fmt::print("{} runs, {} edges, {} inputs in the corpus ({} at the start), {:.1f} s, {:.0f} runs/s\n",
               runs_, covered_edges(), corpus_.size(), loaded_, seconds,
               static_cast<double>(runs_) / seconds);
    std::fflush(stdout);
  }

  const Options& options_;
  Mutator mutator_;
  std::vector<Buffer> corpus_;
  size_t loaded_ = 0;
  uint64_t runs_ = 0;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!name.starts_with("--")) {
      options.files.push_back(name);
      continue;
    }
    if (i + 1 == argc) throw std::runtime_error(name + " needs a value");
    const std::string value = argv[++i];
    if (name == "--seed")
      options.seed = std::stoull(value);
    else if (name == "--runs")
      options.runs = std::stoull(value);
    else if (name == "--seconds")
      options.seconds = std::stoull(value);
    else if (name == "--max-size")
      options.max_size = std::stoull(value);
    else if (name == "--corpus")
      options.corpus = value;
    else if (name == "--crash-dir")
      options.crash_dir = value;
    else
      throw std::runtime_error("unknown option " + name);
  }
  return options;
}

}  // namespace

void property_failed(const char* condition, const char* file, int line) {
  fmt::print(stderr, "{}:{}: {} doesn't hold\n", file, line, condition);
  std::abort();
}

int fuzz_main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (!options.files.empty()) {
    for (const auto& file : options.files) {
      run(read_file(file));
      fmt::print("{}: fine\n", file);
    }
    return 0;
  }
  install_handlers(options, std::filesystem::path(argv[0]).filename().string());
  Fuzzer fuzzer(options);
  fuzzer.load_corpus();
  fuzzer.fuzz();
  return 0;
}

}  // namespace millrace::fuzz

int main(int argc, char** argv) {
  try {
    return millrace::fuzz::fuzz_main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
