#include "tools/progress.h"

#include <fmt/format.h>

#include "tools/quantity.h"

namespace millrace::tools {
namespace {
constexpr auto kFirstDraw = std::chrono::milliseconds(500);
constexpr auto kInterval = std::chrono::milliseconds(200);
}  // namespace

Progress::Progress(Console& console, std::string what, int64_t total, bool show)
    : console_(console),
      what_(std::move(what)),
      total_(total),
      show_(show && console.err_is_terminal),
      start_(std::chrono::steady_clock::now()),
      next_draw_(start_ + kFirstDraw) {}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::look() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_draw_) return;
  next_draw_ = now + kInterval;
  drawn_ = true;
  const double elapsed = std::max(seconds(), 0.001);
  std::string line = fmt::format("{} {}", format_count(records_), what_);
  if (total_ > 0) {
    line += fmt::format(" of {} ({:.0f}%)", format_count(total_),
                        100.0 * static_cast<double>(records_) / static_cast<double>(total_));
  }
  line += fmt::format(", {}, {}/s, {}/s", format_size(static_cast<double>(bytes_)),
                      format_count(static_cast<int64_t>(static_cast<double>(records_) / elapsed)),
                      format_size(static_cast<double>(bytes_) / elapsed));
  fmt::print(console_.err, "\r{}\x1b[K", line);
  std::fflush(console_.err);
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(console_.err, "\r\x1b[K");
  std::fflush(console_.err);
  drawn_ = false;
}

}  // namespace millrace::tools
