# SPDX-License-Identifier: MIT
#
# cmake -DSOURCE=tree -DBUILD=folder -P clang.cmake: build the libraries, nothing else, with clang.

foreach(step "${CMAKE_COMMAND};-S;${SOURCE};-B;${BUILD};-DCMAKE_C_COMPILER=clang;-DQUIRE_TESTS=OFF"
        "${CMAKE_COMMAND};--build;${BUILD};-j;2")
    execute_process(COMMAND ${step} RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
    if(status)
        message(FATAL_ERROR "${said}")
    endif()
endforeach()
message("clang: ok")
