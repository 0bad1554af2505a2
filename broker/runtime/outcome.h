// The result of a call that ran somewhere else: a value or the exception that it threw.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace millrace::runtime {

template <class R>
class Outcome {
 public:
  void set(R value) { value_.emplace(std::move(value)); }
  void set_exception(std::exception_ptr failure) { failure_ = std::move(failure); }
  template <class F>
  void set_result_of(F& f) {
    try {
      value_.emplace(f());
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  // Returns the value or rethrows. Once.
  R take() {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return std::move(*value_);
  }

 private:
  std::optional<R> value_;
  std::exception_ptr failure_;
};

template <>
class Outcome<void> {
 public:
  void set() {}
  void set_exception(std::exception_ptr failure) { failure_ = std::move(failure); }
  template <class F>
  void set_result_of(F& f) {
    try {
      f();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  void take() {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  std::exception_ptr failure_;
};

}  // namespace millrace::runtime
