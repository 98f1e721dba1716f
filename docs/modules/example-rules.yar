/*
 * Rules that the example of `investigator help yara` applies.
 */

import "elf"

rule preloaded_library : persistence {
    meta:
        description = "A library's name where the dynamic loader reads what to load into every program"
    strings:
        $library = /[\x21-\x7e]+\.so/
    condition:
        filesize < 4KB and $library
}

rule packed_with_upx : packer {
    meta:
        description = "A Linux program that was packed with UPX, told by its section headers being gone"
    strings:
        $mark = "UPX!"
    condition:
        elf.number_of_sections == 0 and $mark
}

rule web_shell : backdoor {
    meta:
        description = "PHP that runs what a request tells it to"
    strings:
        $run = /(eval|assert|system|passthru|shell_exec)\s{0,9}\(\s{0,9}(base64_decode\s{0,9}\(\s{0,9})?\$_(GET|POST|REQUEST|COOKIE)/ nocase
    condition:
        $run
}
