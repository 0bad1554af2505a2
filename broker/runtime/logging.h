// The broker's log, over spdlog (which stays out of this header): levels, a terminal format with colour only
// on a terminal, JSON lines on request. Lines go to stderr. May be used from every thread.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::runtime {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kOff };
enum class LogFormat : uint8_t { kText, kJson };

// Until set up: info, text. Thread safe, but meant for start-up.
void set_up_logging(LogLevel level, LogFormat format);
// Reads "debug", "info", "warning" ("warn"), "error", "off"; false for any other text.
bool parse_log_level(std::string_view text, LogLevel& level);

namespace detail {
extern std::atomic<LogLevel> log_level;
void write_log(LogLevel level, std::string_view message);
}  // namespace detail

inline bool log_enabled(LogLevel level) { return level >= detail::log_level.load(std::memory_order_relaxed); }

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) detail::write_log(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kDebug, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kInfo, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kWarning, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kError, format, std::forward<Args>(args)...);
}

}  // namespace millrace::runtime
