# Makes a virtual environment for packages that this project doesn't need:
#
#   . tests/beside.sh FOLDER
#
# It sees the packages of the Python it is made with (PYTHON, else python3), torch and this project
# among them, and is left with its own Python as "$beside".
parent_python=${PYTHON:-python3}
"$parent_python" -m venv "$1"
beside=$1/bin/python
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
echo "import site; site.addsitedir('$("$parent_python" -c "$packages")')" \
  > "$("$beside" -c "$packages")/parent.pth"
